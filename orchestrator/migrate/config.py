"""Old training configurations as trial files: known keys, their settings here, and the keys left over."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.migrate.found import FoundValues, short_value
from orchestrator.migrate.together import merge_settings
from orchestrator.migrate.values import CONVERTERS, UnknownValue
from orchestrator.migrate.vocabulary import KEYS, setting_of, subject_of
from orchestrator.spec.file_kinds import is_sweep_file, is_trial_file
from search_spaces.documents import dump_yaml, parse_yaml, read_mapping
from search_spaces.errors import InvalidInput, shown
from search_spaces.shell import thaw_command
from search_spaces.validation import parse
from trainables.config import TrialConfig

# References and templates: ${data.root}, {{ root }}, %(root)s, $HOME.
_REFERENCE = re.compile(r"\$\{|\$\(|\{\{|%\(\w+\)s|(^|/)\$\w")


@dataclass(frozen=True)
class ImportedConfig:
    """ImportedConfig: an old configuration, as far as it was understood."""

    config: TrialConfig
    """Validated configuration of `text`."""

    text: str
    """Trial file: YAML in which a comment names the key that each value came from."""

    unknown: tuple[str, ...]
    """`key: value` pairs of the old file that were not understood, each with the reason where there is one."""

    defaults: tuple[str, ...]
    """`setting: value` pairs that the old file lacks, so that Thaw's default holds."""

    notes: tuple[str, ...]
    """Places where the trial file differs slightly from the old file."""


def import_file(old: Path, out: Path) -> ImportedConfig:
    """Write the trial file `out` of the configuration `old`; relative paths become relative to the new file.

    Paths in `old` are relative to the current folder, as in scripts, or else to the folder of `old`. Raises
    InvalidInput as `convert_config` does, for a model that timm does not have, and when `out` exists already.
    """
    if out.exists():
        raise InvalidInput(f"{out}: must not exist yet, but it does; choose another name with --out, or remove it")

    def locate(path: str) -> str:
        if path.startswith("~") or Path(path).is_absolute():
            return path
        beside = old.parent / path
        target = beside if beside.exists() and not Path(path).exists() else Path(path)
        return os.path.relpath(target, out.parent)

    imported = convert_config(read_mapping(old), str(old), locate)
    parse(TrialConfig, parse_yaml(imported.text, str(out)), str(out), base=out.resolve().parent)
    from trainables.model.build import check_image_size  # takes seconds: what is refused does not wait for timm

    try:
        check_image_size(imported.config.architecture, imported.config.data.image_size)
    except InvalidInput as error:
        raise InvalidInput(f"{old}: {error}") from None
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(imported.text, encoding="utf-8")
    return imported


def convert_config(
    old: Mapping[Any, Any], source: str, locate: Callable[[str], str] = lambda path: path
) -> ImportedConfig:
    """Read an old configuration, flat or in sections; `source` names it in messages and in the file.

    `locate` returns the name of a path in the new file. Raises InvalidInput for a file of Thaw itself, when the
    configuration names no architecture, when a key about freezing, balance or weights is not understood, when two keys
    disagree, when both answers to imbalance are on, and for values out of range.
    """
    _check_foreign(old, source)
    found = FoundValues(source)
    for key, value in _leaves(old, ()):
        _understand(key, value, found)
    _check_architecture_named(found)
    merge_settings(found, locate)
    found.check()
    required = {name: value for name, value in _required(found).items() if name not in found.values}
    values = _ordered({**found.values, **required})
    config = parse(TrialConfig, _nested(values), source, found.prefix)
    text = _text(values, found, source)
    parse(TrialConfig, parse_yaml(text, source), source)
    dumped = config.model_dump(mode="json", exclude={"data", "objective"}, exclude_none=True)
    flat = {**dumped, "data.image_size": config.data.image_size, "data.resize_mode": config.data.resize_mode}
    defaults = {**required, **{name: value for name, value in flat.items() if name not in found.values}}
    return ImportedConfig(
        config=config,
        text=text,
        unknown=tuple(found.unknown),
        defaults=tuple(f"{name}: {short_value(value)}" for name, value in defaults.items()),
        notes=tuple(found.notes),
    )


def _check_foreign(old: Mapping[Any, Any], source: str) -> None:
    for kind, command, is_own in (("trial", "trial", is_trial_file(old)), ("sweep", "sweep", is_sweep_file(old))):
        if is_own:
            raise InvalidInput(
                f"{source}: must be a configuration of another tool, got a {kind} file of Thaw already; run it with "
                f"`{thaw_command(command, Path(source))}`"
            )


def _leaves(value: Mapping[Any, Any], parents: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every key that holds no section, with its sections; phases are kept whole."""
    for name, entry in value.items():
        path = (*parents, str(name))
        if setting_of(path) == "phases":
            yield path, entry
        elif isinstance(entry, Mapping) and entry:
            yield from _leaves(entry, path)
        elif isinstance(entry, list) and any(isinstance(each, Mapping) for each in entry):
            yield from _leaves({f"{name}[{number}]": each for number, each in enumerate(entry)}, parents)
        else:
            yield path, entry


def _understand(path: tuple[str, ...], value: Any, found: FoundValues) -> None:
    key, setting = ".".join(path), setting_of(path)
    is_empty = value is None or value in ("", [], {})
    if is_empty and not (setting == "layers" or (value is None and setting in ("scheduler", "weights_choice"))):
        if setting is None:
            found.miss(key, value, "")
        return  # an empty key sets nothing
    try:
        if any(map(_is_reference, value if isinstance(value, list) else [value])):
            raise UnknownValue("a reference, which only the other tool resolves; write its value out")
        if setting is None:
            raise UnknownValue("")
        found.put(setting, CONVERTERS.get(setting, lambda entry: entry)(value), key)
    except UnknownValue as reason:
        if setting == "architecture":
            raise InvalidInput(
                f"{found.source}: {key}: must name a model of timm, got {shown(value)}: {reason}"
            ) from None
        is_off = setting is None and value in (False, 0, "none", "off", "false") and not _switches_on(path[-1])
        found.miss(key, value, str(reason), None if is_off else subject_of(path))


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and _REFERENCE.search(value) is not None


def _switches_on(name: str) -> bool:
    """Return whether a key that is off freezes layers or drops weights: `unfreeze_wings: false`."""
    return re.search("unfr|thaw|train|load|weights", name.lower()) is not None


def _check_architecture_named(found: FoundValues) -> None:
    if "architecture" not in found.values:
        raise InvalidInput(
            f"{found.source}: a model must be named, got none under {', '.join(KEYS['architecture'].split()[:4])}; "
            "add `model_name: <timm name>`"
        )


def _required(found: FoundValues) -> dict[str, Any]:
    """Return the settings that a trial requires, with values that an expert would begin with."""
    boundary = found.values.get("unfreeze_epoch", 0)
    boundary += found.values.get("last_stage_epoch", 0) + found.values.get("full_after", 0)
    strategy = found.values.get("strategy", "full")
    lr = 1e-3 if strategy == "head" else 1e-4
    return {"data.root": "photos", "strategy": strategy, "epochs": 10 + boundary, "lr": lr}


def _ordered(values: Mapping[str, Any]) -> dict[str, Any]:
    order = ["data.root", "data.image_size", "data.resize_mode", *TrialConfig.model_fields]
    return {name: values[name] for name in order if name in values}


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    data = {name.partition(".")[2]: value for name, value in values.items() if name.startswith("data.")}
    return {"data": data, **{name: value for name, value in values.items() if not name.startswith("data.")}}


def _text(values: Mapping[str, Any], found: FoundValues, source: str) -> str:
    lines = [
        f"# Written by `thaw import-config`. Each value names the key of {_comment(source)} it came from.",
        "data:",
    ]
    for name, value in values.items():
        indent, bare = ("  ", name.partition(".")[2]) if name.startswith("data.") else ("", name)
        origin = f"from {_comment(found.keys[name])}" if name in found.keys else "default: no key for it was understood"
        first, *more = dump_yaml(value).removesuffix("...\n").rstrip("\n").splitlines()
        if more:
            lines += [f"{indent}# {origin}", f"{indent}{bare}: {first}", *(f"{indent}  {line}" for line in more)]
        else:
            lines.append(f"{indent}{bare}: {first}  # {origin}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    """Return text that can stand in a YAML comment: one line of printable characters."""
    return "".join(character if character.isprintable() else " " for character in text)[:200]

"""Old training configurations as trial files: known keys, their settings here, and the keys left over."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from orchestrator.migrate.freezing import freezing, whole_number
from orchestrator.migrate.vocabulary import CONVERTERS, KEYS, UnknownValue, setting_of
from search_spaces.documents import dump_yaml, parse_yaml, read_mapping
from search_spaces.errors import InvalidInput
from search_spaces.validation import parse
from trainables.config import TrialConfig
from trainables.model.build import check_image_size


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


class _Found:
    """Values understood so far: by setting, each with the key it came from."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.values: dict[str, Any] = {}
        self.keys: dict[str, str] = {}
        self.unknown: list[str] = []
        self.notes: list[str] = []

    def put(self, setting: str, value: Any, key: str) -> None:
        """Keep a value. Raises InvalidInput when another key gave a different one."""
        if setting in self.values and self.values[setting] != value:
            raise InvalidInput(
                f"{self.source}: {self.keys[setting]} and {key} must agree, got {self.values[setting]!r} and "
                f"{value!r}; remove one of them"
            )
        if setting not in self.values:
            self.values[setting], self.keys[setting] = value, key

    def origin(self, setting: str) -> str:
        """Return the prefix for the name of a setting in a message."""
        return f"{self.keys[setting]} -> " if setting in self.keys else ""

    def take(self, setting: str) -> Any:
        """Remove a value and return it; None where there is none. Its key stays."""
        return self.values.pop(setting, None)


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
    check_image_size(imported.config.architecture, imported.config.data.image_size)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(imported.text, encoding="utf-8")
    return imported


def convert_config(
    old: Mapping[Any, Any], source: str, locate: Callable[[str], str] = lambda path: path
) -> ImportedConfig:
    """Read an old configuration, flat or in sections; `source` names it in messages and in the file.

    `locate` returns the name of a path in the new file. Raises InvalidInput when the configuration names no
    architecture, when two keys disagree, when both answers to imbalance are on, and for values out of range.
    """
    found = _Found(source)
    for key, value in _leaves(old, ()):
        _understand(key, value, found)
    _architecture(found)
    _weights(found)
    _balance(found)
    _early_stopping(found)
    _freezing(found)
    _backbone_lr(found)
    _data(found, locate)
    classes = found.take("classes")
    if classes is not None:
        found.notes.append(f"{found.keys['classes']}: {classes} is left out: Thaw counts the classes of the data")
    required = {name: value for name, value in _required(found).items() if name not in found.values}
    values = _ordered({**found.values, **required})
    config = parse(
        TrialConfig, _nested(values), source, lambda key: f"{found.keys[key]} -> " if key in found.keys else ""
    )
    text = _text(values, found, source)
    parse(TrialConfig, parse_yaml(text, source), source)
    plain = config.model_dump(mode="json", exclude={"data", "objective"}, exclude_none=True)
    flat = {**plain, "data.image_size": config.data.image_size, "data.resize_mode": config.data.resize_mode}
    defaults = {**required, **{name: value for name, value in flat.items() if name not in found.values}}
    return ImportedConfig(
        config=config,
        text=text,
        unknown=tuple(found.unknown),
        defaults=tuple(f"{name}: {_plain(value)}" for name, value in defaults.items()),
        notes=tuple(found.notes),
    )


def _leaves(value: Mapping[Any, Any], parents: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every key that holds no section, with its sections; phases are kept whole."""
    for name, entry in value.items():
        path = (*parents, str(name))
        if isinstance(entry, Mapping) and entry and setting_of(path) != "phases":
            yield from _leaves(entry, path)
        else:
            yield path, entry


def _understand(path: tuple[str, ...], value: Any, found: _Found) -> None:
    key, setting = ".".join(path), setting_of(path)
    try:
        if setting is None:
            raise UnknownValue("")
        if value is None and setting != "scheduler":
            return  # an empty key sets nothing
        found.put(setting, CONVERTERS.get(setting, lambda entry: entry)(value), key)
    except UnknownValue as reason:
        found.unknown.append(f"{key}: {_plain(value)}" + (f" ({reason})" if str(reason) else ""))


def _architecture(found: _Found) -> None:
    if "architecture" not in found.values:
        raise InvalidInput(
            f"{found.source}: a model must be named, got none under {', '.join(KEYS['architecture'].split()[:4])}; "
            "add `model_name: <timm name>`"
        )


def _weights(found: _Found) -> None:
    pretrained, checkpoint = found.take("pretrained"), found.take("checkpoint")
    if checkpoint is not None:
        found.put("weights", checkpoint, found.keys["checkpoint"])
    elif pretrained is not None:
        found.put("weights", pretrained, found.keys["pretrained"])


def _balance(found: _Found) -> None:
    sampler, loss = found.take("sampler"), found.take("class_weights")
    if sampler and loss:
        raise InvalidInput(
            f"{found.source}: {found.keys['sampler']} and {found.keys['class_weights']} must not both be on: each "
            "makes up for the imbalance alone, together a rare class counts twice; switch one off"
        )
    for value, role, balance in ((sampler, "sampler", "sampler"), (loss, "class_weights", "loss")):
        if value:
            found.put("balance", balance, found.keys[role])
    if not sampler and not loss and (sampler is False or loss is False):
        found.put("balance", "none", found.keys["sampler" if sampler is False else "class_weights"])


def _early_stopping(found: _Found) -> None:
    stops = found.take("early_stopping")
    if stops is False:
        found.take("patience")
        found.put("patience", "none", found.keys["early_stopping"])
    elif stops and "patience" not in found.values:
        found.notes.append(f"{found.keys['early_stopping']} is on without a patience: the trial runs all its epochs")


def _freezing(found: _Found) -> None:
    phases, unfreeze_at, freeze = (found.take(role) for role in ("phases", "unfreeze_at", "freeze"))
    meant = freezing(
        freeze, unfreeze_at, phases, whole_number(found.values.get("epochs")), found.keys.get("phases", "")
    )
    keys = [found.keys[role] for role in ("phases", "unfreeze_at", "freeze") if role in found.keys]
    for name, value in meant.settings.items():
        if keys:
            found.put(name, value, ", ".join(keys))
    if meant.epochs and "epochs" not in found.values:
        found.put("epochs", meant.epochs, found.keys["phases"])
    found.unknown += meant.unknown
    found.notes += meant.notes


def _backbone_lr(found: _Found) -> None:
    rate, lr = found.take("backbone_lr"), found.values.get("lr")
    if rate is None or lr is None:
        if rate is not None:
            found.unknown.append(f"{found.keys['backbone_lr']}: {_plain(rate)} (without a learning rate of the head)")
        return
    key = found.keys["backbone_lr"]
    try:
        factor = rate / lr
    except (ZeroDivisionError, OverflowError):
        factor = 0.0
    if 0 < factor <= 1:
        found.put("backbone_lr_factor", float(f"{factor:.6g}"), key)
    else:
        found.unknown.append(f"{key}: {_plain(rate)} (must be a share of the learning rate, above 0 and at most 1)")


def _data(found: _Found, locate: Callable[[str], str]) -> None:
    train = found.take("train_dir")
    if train is not None and "data.root" not in found.values:
        found.put("data.root", str(PurePath(train).parent), found.keys["train_dir"])
    for setting in ("data.root", "weights"):
        value = found.values.get(setting)
        if value is not None and not (setting == "weights" and value in ("pretrained", "none")):
            found.values[setting] = locate(value)


def _required(found: _Found) -> dict[str, Any]:
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


def _text(values: Mapping[str, Any], found: _Found, source: str) -> str:
    lines = [
        f"# Written by `thaw import-config`. Each value names the key of {_comment(source)} it came from.",
        "data:",
    ]
    for name, value in values.items():
        indent, bare = ("  ", name.partition(".")[2]) if name.startswith("data.") else ("", name)
        origin = f"from {_comment(found.keys[name])}" if name in found.keys else "default: the old file does not say"
        first, *more = dump_yaml(value).removesuffix("...\n").rstrip("\n").splitlines()
        if more:
            lines += [f"{indent}# {origin}", f"{indent}{bare}: {first}", *(f"{indent}  {line}" for line in more)]
        else:
            lines.append(f"{indent}{bare}: {first}  # {origin}")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _comment(text: str) -> str:
    """Return text that can stand in a YAML comment: one line of printable characters."""
    return "".join(character if character.isprintable() else " " for character in text)[:200]

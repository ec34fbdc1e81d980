"""Presets: ready sweep files for common situations; `thaw init` copies one."""

from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

from search_spaces.errors import InvalidInput, closest

PLACEHOLDER = "root: photos"


def preset_names() -> list[str]:
    """Return the names of the presets, sorted."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def preset_text(name: str, data_root: str | None = None, settings: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Return the preset as a sweep file with its comments, for the data set in `data_root`. Raises InvalidInput.

    `settings` are further ones of the section `data`, as `split` for a data set that is not split.
    """
    if name not in preset_names():
        raise InvalidInput(f"preset must be one that exists, got {name!r}; {closest(name, preset_names())}")
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    if data_root is None:
        return text
    more = "".join(f", {name}: {flow_text(value)}" for name, value in settings.items())
    return text.replace(PLACEHOLDER, f"root: {flow_text(data_root)}{more}", 1)


def replaced_settings(name: str, blocks: Mapping[str, str]) -> str:
    """Return a preset as text, with blocks of YAML in place of some of its lines, and of its first comment.

    `blocks` are by the key of the line that each replaces, with the key's own white space: `data`, `  architecture`,
    `resources`; `#` is the comment at the top. Raises InvalidInput for an unknown preset.
    """
    lines = preset_text(name).splitlines()
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    found = [blocks["#"], *(blocks.get(line.partition(":")[0], line) for line in lines[first:])]
    return "\n".join(found) + "\n"


def preset_architectures(name: str) -> list[str]:
    """Return the architectures of a preset, in its order. Raises InvalidInput."""
    return [*yaml.safe_load(preset_text(name))["space"]["architecture"]["choice"]]


def preset_summary(name: str) -> str:
    """Return the first line of the preset's comments: when to use it."""
    return preset_text(name).splitlines()[0].removeprefix("#").strip()


def flow_text(value: Any) -> str:
    """Return a value as YAML within a line."""
    style = '"' if isinstance(value, str) and not value.isprintable() else None  # of the others one can span lines
    return yaml.safe_dump(
        value, default_flow_style=True, default_style=style, width=10_000, sort_keys=False
    ).splitlines()[0]

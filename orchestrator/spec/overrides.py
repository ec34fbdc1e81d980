"""Overrides: `--set key=value` and `--set key+=value` change a sweep file before it is checked."""

from typing import Any

from search_spaces.documents import parse_yaml
from search_spaces.errors import InvalidInput, shown


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Change `raw` in place: `=` replaces the value at a dotted key, `+=` appends to the list there.

    A number steps into a list (`space.lr.0.log`); appending to a dimension of choices, `space.architecture+=x`, appends
    to its `choice`. Raises InvalidInput.
    """
    key, appends, text = _parts(override)
    value = parse_yaml(text, f"--set {key}")
    *parents, last = key.split(".")
    target: Any = raw
    for parent in parents:
        target = _below(target, parent, key)
        if not isinstance(target, dict | list):
            raise InvalidInput(f"--set {key}: {parent} must be a section, got {shown(target)}; set the whole of it")
    if appends:
        value = _appended(_below(target, last, key, new=[]), value, key)
    if isinstance(target, list):
        target[_index(target, last, key)] = value
    else:
        target[last] = value


def overridden(override: str) -> str:
    """Return the dotted key that an override changes."""
    return _parts(override)[0]


def _parts(override: str) -> tuple[str, bool, str]:
    key, equals, text = override.partition("=")
    appends = key.endswith("+")
    key = key.removesuffix("+").strip()
    if not equals or not key:
        raise InvalidInput(f"--set must be key=value, got {shown(override)}; for example --set search.trials=12")
    return key, appends, text


def _below(target: Any, name: str, key: str, new: Any = None) -> Any:
    """Return the value in `target` under `name`; where there is none, put a new section, or `new`, there."""
    if isinstance(target, list):
        return target[_index(target, name, key)]
    if target.get(name) is None or (new is not None and target[name] == "none"):
        target[name] = {} if new is None else new
    return target[name]


def _index(values: list[Any], name: str, key: str) -> int:
    if not (name.isascii() and name.isdecimal()) or int(name) >= len(values):
        raise InvalidInput(
            f"--set {key}: a list's entry is named by its number, 0 to {len(values) - 1}, got {shown(name)}; "
            "give one, or set the whole list"
        )
    return int(name)


def _appended(there: Any, value: Any, key: str) -> Any:
    """Append `value`, or each of its values where it is a list, to a copy of `there`."""
    if isinstance(there, dict) and isinstance(there.get("choice"), list):
        return {**there, "choice": _appended(there["choice"], value, key)}
    if not isinstance(there, list):
        raise InvalidInput(f"--set {key}: += appends to a list, got {shown(there)}; replace it with --set {key}=...")
    return [*there, *(value if isinstance(value, list) else [value])]

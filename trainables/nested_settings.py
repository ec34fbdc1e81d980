"""Settings of trials as nested mappings: one level deep, and what several share."""

from collections.abc import Mapping, Sequence
from typing import Any


def flat_settings(nested: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Return settings one level deep, the names of a section before those of its settings: `data.image_size`."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat |= {f"{name}{separator}{key}": inner for key, inner in flat_settings(value, separator).items()}
        else:
            flat[name] = value
    return flat


def shared_settings(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all of some nested settings share, of which None is none; whole sections are compared first."""
    first, *others = each
    shared: dict[str, Any] = {}
    for name, value in first.items():
        theirs = [other.get(name) for other in others]
        if all(other == value for other in theirs):
            shared[name] = value
        elif isinstance(value, dict):
            sections = [other for other in theirs if isinstance(other, dict)]
            shared[name] = shared_settings([value, *sections]) if len(sections) == len(theirs) else {}
    return shared

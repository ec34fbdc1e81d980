"""State dicts: which part of what torch.save wrote is the weights."""

from collections.abc import Mapping
from typing import Any

from trainables.model.inert_pickle import Inert
from trainables.model.torch_file import StoredTensor

# Where scripts and Lightning keep the state dict among epoch, optimizer and hyperparameters.
STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model")
_MOST_NAMES, _DEEPEST = 100_000, 100


def find_state_dict(value: Any) -> dict[str, StoredTensor] | None:
    """Return the notes of a state dict in a value, or under a usual key of it; None where there is none.

    A module that was pickled whole, in the place of a state dict, has its tensors in its attributes.
    """
    outer = _entries(value)
    inner = [outer[key] for key in STATE_DICT_KEYS if key in outer] if outer is not None else []
    for candidate in (*inner, value):
        notes = _module_tensors(candidate) if isinstance(candidate, Inert) else {}
        entries = _entries(candidate)
        if not notes and entries is not None:
            found = {str(key): entry for key, entry in entries.items() if isinstance(entry, StoredTensor)}
            # Lightning's metrics and some quantised layers keep plain values among the tensors.
            notes = found if len(found) * 2 > len(entries) else {}
        if notes:
            return notes
    return None


def _entries(value: Any) -> Mapping[Any, Any] | None:
    """Return the entries of a dictionary, also of a class of its own, such as Lightning's AttributeDict."""
    entries = value.entries if isinstance(value, Inert) else value
    return entries if isinstance(entries, dict) else None


def _module_tensors(module: Inert) -> dict[str, StoredTensor]:
    """Return the parameters and lasting buffers of a pickled module; none where there are too many to be one."""
    notes: dict[str, StoredTensor] = {}
    pending: list[tuple[str, Any]] = [("", module)]
    seen = 0
    while pending:
        prefix, part = pending.pop()
        if not isinstance(part, Inert) or not isinstance(part.state, dict):
            continue
        own = {**_part(part.state, "_parameters"), **_part(part.state, "_buffers")}
        derived = _entries(part.state.get("_non_persistent_buffers_set")) or {}
        notes |= {
            f"{prefix}{key}": value
            for key, value in own.items()
            if key not in derived and isinstance(value, StoredTensor)
        }
        # In the order of the module's own state dict.
        pending += reversed([(f"{prefix}{key}.", child) for key, child in _part(part.state, "_modules").items()])
        seen += 1 + len(own)
        # One object under many names, level by level, is a tree without end.
        if seen + len(pending) > _MOST_NAMES or prefix.count(".") > _DEEPEST:
            return {}
    return notes


def _part(attributes: dict[Any, Any], name: str) -> Mapping[Any, Any]:
    return _entries(attributes.get(name)) or {}

"""Freezing in old configurations, mapped to Thaw's strategies: which layers are frozen, and when they thaw."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trainables.model.freeze_plan import Stages

Level = Literal["classifier", "last_stage", "all"]

# Names of the layers that train, without punctuation and case.
_LEVELS: Mapping[str, Level] = {
    **dict.fromkeys(("classifier", "classifieronly", "head", "headonly", "fc", "none", "frozen"), "classifier"),
    **dict.fromkeys(("laststage", "laststages", "lastblock", "lastblocks", "lastlayer", "lastlayers"), "last_stage"),
    **dict.fromkeys(("partial", "layer4", "topblocks", "toplayers"), "last_stage"),
    **dict.fromkeys(("all", "full", "everything", "backbone", "entire", "wholemodel", "fullmodel", "model"), "all"),
}
_START = ("epoch", "start_epoch", "at_epoch", "from_epoch", "start")
_LENGTH = ("epochs", "num_epochs", "duration", "length")
_WHAT = ("unfreeze", "unfreeze_layers", "layers", "trainable", "trainable_layers", "train", "target", "what", "stage")
_ORDER: tuple[Level, ...] = ("classifier", "last_stage", "all")
_DIRECT: Mapping[str, Level] = {
    **dict.fromkeys(("last_stage_epoch", "unfreeze_last_stage_at_epoch", "unfreeze_last_block_at_epoch"), "last_stage"),
    **dict.fromkeys(("full_epoch", "unfreeze_all_at_epoch", "unfreeze_full_at_epoch"), "all"),
}


@dataclass
class ImportedFreezing:
    """ImportedFreezing: the strategy that was meant, with its parameters, and the entries that do not fit into it."""

    settings: dict[str, Any] = field(default_factory=dict)
    """`strategy`, and its own parameters."""

    epochs: int | None = None
    """Epochs of all phases together, where their lengths are given."""

    unknown: list[str] = field(default_factory=list)
    """`key: reason` of entries that were not understood and freeze nothing, relative to the old file."""

    refused: list[str] = field(default_factory=list)
    """Problems of entries that decide what is frozen and were not understood, or contradict one another."""

    notes: list[str] = field(default_factory=list)
    """Places where the strategy differs slightly from the old file."""


def freezing(
    freeze: Any,
    unfreeze_at: Any,
    phases: Any,
    epochs: int | None,
    phases_key: str,
    stages: Stages | None = None,
) -> ImportedFreezing:
    """Map `freeze_backbone`, `unfreeze_backbone_at_epoch` and `progressive_unfreezing`, None if absent, to a strategy.

    Phases decide where they can be understood. Without phases, the backbone thaws at its epoch, counted from 0; -1
    means never. Without that epoch, the backbone is frozen or not. `stages` is the number of stages that train beside
    the head, where the old file names layers. `epochs` is the length of the training, None where it is unknown.
    """
    found = ImportedFreezing()
    starts = _starts(phases, found, phases_key)
    if starts and stages is not None:
        found.refused.append(f"{phases_key}: must stand alone, got layers that train or are frozen beside it")
    elif starts:
        if unfreeze_at is not None and starts.get("all") != unfreeze_at:
            found.notes.append(f"unfreeze_backbone_at_epoch {unfreeze_at!r} gives way to {phases_key}")
    elif stages is not None:
        starts = _by_stages(freeze, unfreeze_at, stages, found)
    else:
        starts = _single(freeze, unfreeze_at, found)
        if phases is True and unfreeze_at is None:
            found.refused.append(f"{phases_key}: must name its phases, got True")
    found.settings = _strategy(starts, epochs or found.epochs, found.notes)
    if found.settings["strategy"] == "partial" and isinstance(stages, int):
        found.settings["trainable_stages"] = stages
    return found


def level_of(name: str) -> Level | None:
    """Return the layers that a common word names, such as head, last_stage or backbone; None for any other name."""
    return _LEVELS.get(next(_listed_words(name)))


def whole_number(value: Any) -> int | None:
    """Read a whole number from a value of a configuration; None where it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() and abs(number) < 1e9 else None


def _single(freeze: Any, unfreeze_at: Any, found: ImportedFreezing) -> dict[Level, int]:
    epoch = whole_number(unfreeze_at)
    if unfreeze_at is not None and epoch is None:
        found.refused.append(f"unfreeze_backbone_at_epoch: must be a whole number, got {unfreeze_at!r}")
    if freeze is None and epoch is not None and epoch < 0:
        found.refused.append(f"unfreeze_backbone_at_epoch: must stand with freeze_backbone, got {epoch} alone")
    if freeze is False or (freeze is None and (epoch is None or epoch < 0)):
        if epoch is not None and epoch > 0:
            found.notes.append(f"unfreeze_backbone_at_epoch {epoch} has no effect: freeze_backbone is off")
        return {"all": 0}
    return {"classifier": 0} if epoch is None or epoch < 0 else {"all": epoch}


def _by_stages(freeze: Any, unfreeze_at: Any, stages: Stages, found: ImportedFreezing) -> dict[Level, int]:
    """Return the epochs from which the layers that the old file names train."""
    epoch = whole_number(unfreeze_at)
    if freeze is False and stages != "all":
        found.refused.append("freeze_backbone: must be on where only some layers train, got False")
    if freeze is True and stages == "all" and epoch is None:
        found.refused.append("freeze_backbone: must be off where all layers train, got True")
    if stages == 0 and epoch is not None and epoch >= 0:
        found.refused.append(f"unfreeze_backbone_at_epoch: must name layers that thaw, got {epoch} and none")
    if stages == 0:
        return {"classifier": 0}
    return {"all" if stages == "all" else "last_stage": max(epoch or 0, 0)}


def _strategy(starts: Mapping[Level, int], epochs: int | None, notes: list[str]) -> dict[str, Any]:
    """Return the strategy that thaws the last stage and everything at these epochs, or the nearest one, with a note."""
    last, full = starts.get("last_stage"), starts.get("all")
    if full is not None and epochs is not None and full >= epochs:
        notes.append(f"the backbone never thaws: epoch {full} is not below epochs, {epochs}")
        full = None
    if last is not None and (full is not None and last >= full):
        last = None
    if last is not None and epochs is not None and last >= epochs:
        notes.append(f"the last stage never thaws: epoch {last} is not below epochs, {epochs}")
        last = None
    if full == 0:
        return {"strategy": "full"}
    if last is None:
        return {"strategy": "head"} if full is None else {"strategy": "progressive", "unfreeze_epoch": full}
    if full is None:
        if last > 0:
            notes.append(f"the last stage trains from the start, not from epoch {last}: no strategy thaws it alone")
        return {"strategy": "partial", "trainable_stages": 1}
    if last == 0 and full == 1:
        notes.append("the last stage thaws with the rest at epoch 1, not at 0")
        return {"strategy": "progressive", "unfreeze_epoch": 1}
    if last == 0:
        notes.append("the last stage thaws at epoch 1, not at 0: gradual begins with the classifier alone")
    return {"strategy": "gradual", "last_stage_epoch": max(last, 1), "full_after": full - max(last, 1)}


def _starts(phases: Any, found: ImportedFreezing, key: str) -> dict[Level, int]:
    """Return the epoch from which each level trains, according to the phases; empty where there are none."""
    if isinstance(phases, Mapping):
        enabled = phases.get("enabled", phases.get("enable", True))
        rest = {str(name): value for name, value in phases.items() if name not in ("enabled", "enable")}
        if enabled is False:
            return {}
        listed = next((name for name in ("phases", "schedule", "stages") if isinstance(rest.get(name), list)), None)
        if listed is not None:
            _leave_out({name: value for name, value in rest.items() if name != listed}, found, key)
            return _listed(rest[listed], found, f"{key}.{listed}")
        return _numbered(rest, found, key)
    if isinstance(phases, list):
        return _listed(phases, found, key)
    if phases not in (None, False, True):
        found.refused.append(f"{key}: must name phases, got {_short(phases)}")
    return {}


def _numbered(phases: Mapping[str, Any], found: ImportedFreezing, key: str) -> dict[Level, int]:
    """Read `phase1_epochs` and so on: classifier, last stage, everything, each with its length or its first epoch."""
    lengths: dict[int, int] = {}
    starts: dict[Level, int] = {}
    for name, value in phases.items():
        number = re.fullmatch(r"(?:phase|stage)_?([123])(?:_?(?:epochs|length|duration))?", name)
        length = _length(value) if number else None
        epoch = whole_number(value)
        if number and length is not None and length >= 0:
            lengths[int(number[1])] = length
        elif name in _DIRECT and epoch is not None and epoch >= 0:
            starts[_DIRECT[name]] = epoch
        else:
            found.refused.append(f"{key}.{name}: must be understood, got {_short(value)}")
    if 1 in lengths:
        # Two phases: the classifier, then everything. Three: the last stage between them.
        starts |= {"classifier": 0}
        starts |= {"all": lengths[1]} if 3 not in lengths else {}
        if 2 in lengths and 3 in lengths:
            starts |= {"last_stage": lengths[1], "all": lengths[1] + lengths[2]}
        found.epochs = sum(lengths.values()) if len(lengths) > 1 else None
    else:
        found.refused += [f"{key}: must begin with phase 1, got phase {number}" for number in lengths]
    return starts


def _length(value: Any) -> int | None:
    if isinstance(value, Mapping):
        return next((whole_number(value[name]) for name in _LENGTH if name in value), None)
    return whole_number(value)


def _listed(phases: list[Any], found: ImportedFreezing, key: str) -> dict[Level, int]:
    """Read a list of phases, each with the epoch at which it starts, or with its length."""
    starts: dict[Level, int] = {}
    now, lengths = 0, 0
    for index, phase in enumerate(phases):
        place = f"{key}[{index}]"
        if not isinstance(phase, Mapping):
            found.refused.append(f"{place}: must be a section, got {_short(phase)}")
            continue
        start, length, what = (_pick(phase, names) for names in (_START, _LENGTH, _WHAT))
        epoch, lasts = whole_number(start[1]), whole_number(length[1])
        words = list(_listed_words(what[1]))
        levels = [_LEVELS[word] for word in words if word in _LEVELS]
        given = [name for name in (start[0], length[0], what[0]) if name is not None]
        _leave_out({str(name): value for name, value in phase.items() if name not in given}, found, place)
        begins = now if epoch is None else epoch
        if not levels or begins < 0:
            found.refused.append(f"{place}: must be understood, got {_short(phase)}")
        else:
            level = max(levels, key=_ORDER.index)
            starts[level] = min(begins, starts.get(level, begins))
        if lasts is not None and lasts > 0:
            now, lengths = begins + lasts, lengths + 1
    if lengths and lengths == len(phases):
        found.epochs = now
    return starts


def _leave_out(entries: Mapping[str, Any], found: ImportedFreezing, place: str) -> None:
    """Keep the entries beside those that are read; one whose name speaks of freezing is refused."""
    for name, value in entries.items():
        if re.search("freez|froz|thaw|train", name.lower()):
            found.refused.append(f"{place}.{name}: must be understood, got {_short(value)}")
        else:
            found.unknown.append(f"{place}.{name}: {_short(value)}")


def _pick(phase: Mapping[Any, Any], names: tuple[str, ...]) -> tuple[str | None, Any]:
    return next(((name, phase[name]) for name in names if name in phase), (None, None))


def _listed_words(value: Any) -> Iterator[str]:
    for word in value if isinstance(value, list) else [value]:
        yield re.sub(r"[^a-z0-9]", "", str(word).lower())


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."

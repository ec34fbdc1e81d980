"""Layers that an old configuration names, as a number of stages of its model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from orchestrator.migrate.freezing import level_of
from orchestrator.migrate.values import UnknownValue
from trainables.model.freeze_plan import Stages

if TYPE_CHECKING:
    from trainables.model.stages import StageTable


@dataclass(frozen=True)
class LayerStages:
    """LayerStages: the stages before the head that train."""

    stages: Stages
    """Number of stages counted from the head, from 0 (the head alone); or all."""

    exact: bool = True
    """False where the names are a part of these stages."""


def trained_stages(architecture: str, names: Sequence[str]) -> LayerStages:
    """Return the stages that hold the layers `names`, which train.

    Raises UnknownValue for a name that the model lacks, and for layers with a frozen stage between them and the head.
    """
    table = _table(architecture)
    # A common word counts where the model has no layer of that name.
    levels = {name: level_of(name) for name in names if not _below(table.trainable("all"), name)}
    if "all" in levels.values():
        return LayerStages("all")
    layers = [name for name in names if levels.get(name) is None]
    touched = _touched(table, architecture, layers) | ({1} if "last_stage" in levels.values() else set())
    depth = max(touched, default=0)
    if touched | {0} != set(range(depth + 1)):
        raise UnknownValue("every stage from these layers to the head must train")
    return LayerStages(_stages(depth, table), not layers or _is_whole(table, layers, range(1, depth + 1)))


def stages_behind(architecture: str, names: Sequence[str]) -> LayerStages:
    """Return the stages between the frozen layers `names` and the head.

    Raises UnknownValue for a name that the model lacks, for a frozen head, and for a stage before them that trains.
    """
    table = _table(architecture)
    if any(level_of(name) == "all" for name in names):
        return LayerStages(0)
    touched, last = _touched(table, architecture, names), len(table.backbone)
    nearest = min(touched, default=last + 1)
    if touched != set(range(nearest, last + 1)) or nearest == 0:
        raise UnknownValue("every stage from the first to these layers must be frozen, and the head must train")
    return LayerStages(_stages(nearest - 1, table), _is_whole(table, names, range(nearest, last + 1)))


def count_stages(architecture: str, *, trained: int | None = None, frozen: int | None = None) -> LayerStages:
    """Return the stages of a number of trained stages, or of frozen ones beside the first, where -1 freezes none."""
    table = _table(architecture)
    number = len(table.backbone) - (frozen + 1) if frozen is not None else trained or 0
    if number < 0:
        raise UnknownValue(f"{architecture} has {len(table.backbone)} stages, the first among them")
    return LayerStages(_stages(number, table))


@cache
def _table(architecture: str) -> "StageTable":
    import torch  # a configuration that names no layers needs no model

    from trainables.model.build import bare_model
    from trainables.model.stages import stage_table

    with torch.device("meta"):  # names are needed, no values
        return stage_table(bare_model(architecture, 2))


def _touched(table: "StageTable", architecture: str, names: Sequence[str]) -> set[int]:
    """Return the numbers of the stages, counted from the head, that hold a parameter of a layer of `names`."""
    found: set[int] = set()
    everything = table.trainable("all")
    for name in names:
        numbers = {number for number, _ in table.by_stage(_below(everything, name))}
        if not numbers:
            raise UnknownValue(f"{architecture} has no layer {name}")
        found |= numbers
    return found


def _below(parameters: frozenset[str], layer: str) -> frozenset[str]:
    """Return the parameters of a layer; a wrapper's name before it, such as `backbone.`, is left out."""
    for name in (layer, re.sub(r"^(model|module|backbone|encoder|base|net)\.", "", layer)):
        below = frozenset(each for each in parameters if each == name or each.startswith(f"{name}."))
        if below:
            return below
    return frozenset()


def _is_whole(table: "StageTable", names: Sequence[str], numbers: range) -> bool:
    everything = table.trainable("all")
    named = frozenset[str]().union(*(_below(everything, name) for name in names))
    return all(set(table.backbone[len(table.backbone) - number]) <= named for number in numbers)


def _stages(number: int, table: "StageTable") -> Stages:
    return "all" if number >= len(table.backbone) else number

"""Freeze plans: from which epoch on how many stages train. Pure data, so that the driver can reason about thawing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trainables.config import TrialConfig

Stages = int | Literal["all"]


@dataclass(frozen=True)
class FreezePlan:
    """A map from epoch (from 0) to the number of trainable stages counted from the head, in force from its start on.

    0 is exactly the classifier, `all` is everything. Epoch 0 is always a key.
    """

    boundaries: Mapping[int, Stages]

    def stages_at(self, epoch: int) -> Stages:
        """Trainable stages during `epoch`."""
        return self.boundaries[max(start for start in self.boundaries if start <= epoch)]

    @property
    def last_boundary(self) -> int:
        """The epoch at whose start the plan changes for the last time; 0 for a plan that never thaws anything."""
        return max(self.boundaries)

    def since_boundary(self, epoch: int) -> int:
        """Return the epoch at whose start the stages of `epoch` were set."""
        return max(start for start in self.boundaries if start <= epoch)


def freeze_plan(config: TrialConfig) -> FreezePlan:
    """Return the plan of a configuration's strategy."""
    match config:
        case TrialConfig(strategy="partial", trainable_stages=int(stages)):
            return FreezePlan({0: stages})
        case TrialConfig(strategy="progressive", unfreeze_epoch=int(epoch)):
            return FreezePlan({0: 0, epoch: "all"})
        case TrialConfig(strategy="gradual", last_stage_epoch=int(first), full_after=int(wait)):
            return FreezePlan({0: 0, first: 1, first + wait: "all"})
        case TrialConfig(strategy="full"):
            return FreezePlan({0: "all"})
    return FreezePlan({0: 0})

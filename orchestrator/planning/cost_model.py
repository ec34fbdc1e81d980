"""CostModel: cost of any trial of a space, computed from phases that were measured at its corners."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_spaces.domains import Scalar
from trainables.config import TrialConfig
from trainables.estimate.phase_cost import PhaseCost
from trainables.fixed_views import fixed_views
from trainables.model.freeze_plan import Stages, freeze_plan

# Settings that affect a step's time or memory, besides architecture and stages.
COSTLY = (
    *("batch_size", "micro_batch_size", "augmentation", "mixing", "random_erasing", "drop_path", "optimizer"),
    *("precision", "channels_last", "compile", "ema_decay"),
)


@dataclass(frozen=True)
class PhaseKind:
    """PhaseKind: key that distinguishes measured phases."""

    architecture: str
    stages: Stages
    on_features: bool
    """True where it may train on features; its cost shows whether it can."""


@dataclass(frozen=True)
class TrialPhase:
    """TrialPhase: phase of one trial, with its costs for the whole data set, in seconds of one worker."""

    stages: Stages
    epochs: int
    cost: PhaseCost
    """Cost as measured, or computed from measured ones."""

    step: float
    """Time of an optimizer step, on a whole batch."""

    epoch: float
    """Time of an epoch: training, validation, checkpoint."""

    features: float
    """Time to compute its features where the node lacks them; 0 where it trains on images."""

    features_key: tuple[Scalar, ...]
    """Key of its features; phases with the same key share their features."""


@dataclass(frozen=True)
class CostModel:
    """CostModel: measured phases of a space, and the effect of one setting at a time on them."""

    counts: Mapping[str, int]
    """Images of the data set, by split."""

    workers: int
    """Processes of a trial, which share the images; their communication is not measured."""

    measured: Mapping[PhaseKind, PhaseCost]

    effects: Mapping[str, Mapping[Any, PhaseCost]]
    """Cost of one and the same phase, on images, under each value of a setting; for settings of COSTLY that vary."""

    def phases(self, config: TrialConfig) -> list[TrialPhase] | None:
        """Return the phases of a trial in order; None where one of them could not be measured."""
        boundaries = freeze_plan(config).boundaries
        starts = sorted(boundaries)
        phases = []
        for start, end in zip(starts, [*starts[1:], config.epochs], strict=True):
            cost = self._cost(config, boundaries[start])
            if cost is None:
                return None
            phases.append(self._phase(config, boundaries[start], end - start, cost))
        return phases

    def _phase(self, config: TrialConfig, stages: Stages, epochs: int, cost: PhaseCost) -> TrialPhase:
        train, val, to_compute = self._images(config, views := min(fixed_views(config), epochs))
        images = (cost.image * train + cost.validation * val) / self.workers
        return TrialPhase(
            stages=stages,
            epochs=epochs,
            cost=cost,
            step=cost.image * config.batch_size / self.workers,
            epoch=images + cost.checkpoint,
            features=0.0 if cost.features is None else cost.features * to_compute,
            features_key=(config.architecture, config.weights, stages, config.augmentation, views, config.precision),
        )

    def _images(self, config: TrialConfig, views: int) -> tuple[int, int, int]:
        """Return the images of an epoch, those validated, and those whose features are computed, under their views."""
        train, folds = self.counts["train"], config.data.folds_trained
        if folds is None:
            val = self.counts["val"]
            return train, val, views * train + val
        # Without augmentation the features of val are those of train.
        return (folds - 1) * train, train, (views if views == 1 else views + 1) * train

    def _cost(self, config: TrialConfig, stages: Stages) -> PhaseCost | None:
        found = self._between(phase_kind(config, stages))
        # A step on features is so short that the settings of images and optimizer do not show in a trial.
        if found is None or found.features is not None:
            return found
        time = memory = 1.0
        for setting, costs in self.effects.items():
            here, there = (_nearest(costs, getattr(own, setting)) for own in (config, found.config))
            if here is None or there is None:
                return None
            time *= here.image / there.image
            memory *= (here.memory - here.baseline) / (there.memory - there.baseline)
        peak = found.baseline + round((found.memory - found.baseline) * memory)
        return replace(found, config=config, image=found.image * time, memory=peak)

    def _between(self, kind: PhaseKind) -> PhaseCost | None:
        """Return the cost of a phase; between two that were measured, in proportion to its stages."""
        if kind in self.measured or kind.stages == "all":
            return self.measured.get(kind)
        there = {
            other.stages: cost
            for other, cost in self.measured.items()
            if other.stages != "all" and replace(other, stages=kind.stages) == kind
        }
        low = max((stages for stages in there if stages < kind.stages), default=None)
        high = min((stages for stages in there if stages > kind.stages), default=None)
        if low is None or high is None:
            return None
        return _blend(there[low], there[high], (kind.stages - low) / (high - low), kind.stages)


def phase_kind(config: TrialConfig, stages: Stages) -> PhaseKind:
    """Return the kind of the phase of `config` in which `stages` stages train."""
    return PhaseKind(config.architecture, stages, on_features=stages != "all" and fixed_views(config) > 0)


def _nearest(costs: Mapping[Any, PhaseCost], value: Any) -> PhaseCost | None:
    """Return the cost under the nearest number; a text must be equal."""
    numbers = [other for other in costs if isinstance(other, int | float)]
    if value in costs or not numbers or not isinstance(value, int | float):
        return costs.get(value)
    return costs[min(numbers, key=lambda other: abs(other - value))]


def _blend(low: PhaseCost, high: PhaseCost, share: float, stages: int) -> PhaseCost:
    def between(name: str) -> float:
        first, last = getattr(low, name), getattr(high, name)
        return float(first + (last - first) * share)

    on_features = low.features is not None and high.features is not None
    return replace(
        low,
        stages=stages,
        trainable=round(between("trainable")),
        features=between("features") if on_features else None,
        start=between("start"),
        prepare=between("prepare"),
        image=between("image"),
        validation=between("validation"),
        checkpoint=between("checkpoint"),
        memory=round(between("memory")),
    )

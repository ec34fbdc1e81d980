"""Explanation of a configuration, epoch by epoch, without training: stages, parameters, learning rates."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from trainables.config import TrialConfig
from trainables.loop.optim import learning_rate
from trainables.model.freeze_plan import Stages, freeze_plan
from trainables.model.stages import StageTable, stage_table


@dataclass(frozen=True)
class EpochPlan:
    """Consecutive epochs with the same trainable stages; or one epoch of them, since learning rates move."""

    epoch: int
    """The epoch, from 1."""

    stages: Stages
    """Trainable stages, counted from the head."""

    parameters: int
    """Trainable parameters."""

    share: float
    """Of all parameters, 0 to 1."""

    lr: dict[str, tuple[float, float]]
    """Rate of each part at the first and at the last step of the epoch: head, stage_1 (nearest to it), stage_2, ..."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return asdict(self)


def explain_plan(config: TrialConfig, model: nn.Module, steps: int) -> list[EpochPlan]:
    """List one phase per epoch, for a model with a head of its own and `steps` optimizer steps an epoch.

    The plateau scheduler answers to what is measured, so its rates are shown as if it never did. Raises InvalidInput
    when the plan does not fit the model.
    """
    table, plan = stage_table(model), freeze_plan(config)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    since = _since(table, config)
    phases = []
    for epoch in range(config.epochs):
        stages = plan.stages_at(epoch)
        names = table.trainable(stages)
        parameters = sum(sizes[name] for name in names)
        first, last = (
            {
                "head" if stage == 0 else f"stage_{stage}": learning_rate(
                    config, stage, since[stage], epoch + step / steps, 1 / steps, plateaus=0
                )
                for stage, _ in table.by_stage(names)
            }
            for step in (0, steps - 1)
        )
        rates = {part: (first[part], last[part]) for part in first}
        phases.append(EpochPlan(epoch + 1, stages, parameters, parameters / sum(sizes.values()), rates))
    return phases


def _since(table: StageTable, config: TrialConfig) -> dict[int, int]:
    """Return the epoch since which each stage trains."""
    plan = freeze_plan(config)
    since: dict[int, int] = {}
    for boundary in sorted(plan.boundaries):
        for stage, _ in table.by_stage(table.trainable(plan.boundaries[boundary])):
            since.setdefault(stage, boundary)
    return since

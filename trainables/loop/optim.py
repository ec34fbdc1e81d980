"""Optimizer, its parameter groups, and the learning rate as a function of progress."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from trainables.config import Objective, TrialConfig

PLATEAU_PATIENCE = 2
PLATEAU_FACTOR = 0.3
STEP_FACTOR = 0.1
STEPS = 3

# Where torch has one kernel for a whole step, which costs a third of one a parameter.
_FUSED = ("cpu", "cuda")


def build_optimizer(config: TrialConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Build the optimizer of `config` over parameter groups made by `parameter_groups`."""
    fused = all(parameter.device.type in _FUSED for group in groups for parameter in group["params"])
    match config.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=config.lr, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, lr=config.lr, fused=fused)
        case "sgd":
            return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True, fused=fused)


def parameter_groups(
    model: Any, names: Iterable[str], *, stage: int, peak_lr: float, weight_decay: float, since: int
) -> list[dict[str, Any]]:
    """Group the parameters of one stage (0 is the head): weights with decay, biases and normalization layers without.

    Each group carries its `stage`, its `peak_lr`, the epoch `since` which it trains, and the `names` of its parameters,
    so that the optimizer's state can be saved by name.
    """
    skip = model.no_weight_decay() if hasattr(model, "no_weight_decay") else set()
    wanted = set(names)
    decayed: dict[str, nn.Parameter] = {}
    plain: dict[str, nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        if name in wanted:
            (plain if parameter.ndim <= 1 or name in skip else decayed)[name] = parameter
    return [
        {
            "params": list(chosen.values()),
            "names": list(chosen),
            "stage": stage,
            "since": since,
            "peak_lr": peak_lr,
            "lr": peak_lr,
            "weight_decay": decay,
        }
        for chosen, decay in ((decayed, weight_decay), (plain, 0.0))
        if chosen
    ]


def peak_lr(config: TrialConfig, stage: int) -> float:
    """Return the peak learning rate of a stage: 0 is the head, 1 the stage before it, and so on towards the stem."""
    if stage == 0:
        return config.lr
    return config.lr * config.backbone_lr_factor * config.stage_lr_decay ** (stage - 1)


def learning_rate(config: TrialConfig, stage: int, since: int, epochs: float, step: float, plateaus: int) -> float:
    """Compute the rate of a stage that trains since the start of epoch `since`, for a step that begins after `epochs`.

    `epochs` has a fraction, `step` is the share of an epoch that the step takes. Warm-up is linear (Goyal et al.,
    arXiv 1706.02677), of everything at the start and of a stage after its thaw, and reaches the peak at its last step.
    """
    rate = peak_lr(config, stage) * lr_factor(config.scheduler, epochs / config.epochs, plateaus)
    if config.warmup_epochs:
        rate *= min(1.0, (epochs + step) / config.warmup_epochs)
    if since and config.thaw_warmup_epochs:
        rate *= min(1.0, (epochs + step - since) / config.thaw_warmup_epochs)
    return rate


def set_learning_rates(
    optimizer: torch.optim.Optimizer, config: TrialConfig, epochs: float, step: float, plateaus: int
) -> None:
    """Set every group to its rate for a step that begins after `epochs` (with fraction) and takes `step` of one."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, group["stage"], group["since"], epochs, step, plateaus)


def rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Return the rates of now: lr/head, lr/backbone (its stage nearest to the head) and, where they differ, each."""
    by_stage = {group["stage"]: float(group["lr"]) for group in optimizer.param_groups}
    found = {"lr/head": by_stage.pop(0)}
    if by_stage:
        found["lr/backbone"] = by_stage[min(by_stage)]
        if len(set(by_stage.values())) > 1:
            found |= {f"lr/stage_{stage}": rate for stage, rate in sorted(by_stage.items())}
    return found


def lr_factor(scheduler: str, progress: float, plateaus: int) -> float:
    """Return the learning rate as a share of its peak.

    `progress` is the share of all steps already done, in [0, 1). cosine: Loshchilov & Hutter, arXiv 1608.03983, without
    restarts. one_cycle: Smith & Topin, arXiv 1708.07120, with the constants of torch's OneCycleLR. step: divided by 10
    after each third. plateau: x 0.3 for each of the `plateaus` met so far.
    """
    match scheduler:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "step":
            # The margin makes up for rounding: after a third of the steps, a third of the epochs must be over.
            return STEP_FACTOR ** math.floor(progress * STEPS + 1e-9)
        case "one_cycle":
            rising, start, end = 0.3, 1 / 25, 1 / 25e4
            if progress < rising:
                return _anneal(start, 1.0, progress / rising)
            return _anneal(1.0, end, (progress - rising) / (1 - rising))
        case "plateau":
            return PLATEAU_FACTOR**plateaus
    return 1.0


def count_plateaus(objectives: Sequence[float], objective: Objective) -> int:
    """Count how often `objectives` (one an epoch, since the last thaw) stood still for PLATEAU_PATIENCE + 1 epochs."""
    plateaus, waited, best = 0, 0, None
    for value in objectives:
        if best is None or objective.better(value, best):
            best, waited = value, 0
        else:
            waited += 1
        if waited > PLATEAU_PATIENCE:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def epochs_without_improvement(objectives: Sequence[float], objective: Objective, min_delta: float = 0.0) -> int:
    """Count the newest `objectives` since the last that was better than all before by over `min_delta`."""
    best = 0
    margin = objective.score(min_delta)
    for index, value in enumerate(objectives):
        if objective.better(value, objectives[best] + margin):
            best = index
    return len(objectives) - 1 - best if objectives else 0


def _anneal(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

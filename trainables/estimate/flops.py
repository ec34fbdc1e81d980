"""FLOPs of a trial's training, by epoch: counted, without data, before anything is trained."""

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from trainables.config import TrialConfig
from trainables.data_config import DataConfig
from trainables.fixed_views import fixed_views
from trainables.model.freeze import set_train_mode, set_trainable
from trainables.model.freeze_plan import Stages, freeze_plan
from trainables.model.stages import stage_table
from trainables.task.task import load_task

_IMAGES = 2
_CLASSES = ("0", "1")


def training_flops(config: TrialConfig) -> tuple[float, ...]:
    """Floating-point operations of training on one image, in each epoch of a trial that is trained to its end.

    Convolutions and matrix products are counted, as is usual; a multiplication and its addition are two. What is frozen
    costs its forward pass, and nothing where its features are cached: they are computed once a node, for all trials.
    Validation is left out, and so is the width of the head, as if there were two classes.
    """
    plan, cached = freeze_plan(config), fixed_views(config) > 0
    deciding = _deciding(config)
    per_stages = {stages: _flops(deciding, stages, cached) for stages in set(plan.boundaries.values())}
    return tuple(per_stages[plan.stages_at(epoch)] for epoch in range(config.epochs))


def forward_flops(config: TrialConfig) -> float:
    """Floating-point operations of the model's forward pass on one image, counted as `training_flops` counts them."""
    return _forward_flops(_deciding(config))


def _deciding(config: TrialConfig) -> TrialConfig:
    """Keep what decides the arithmetic alone: trials that differ in nothing else are counted once."""
    data = DataConfig(root=Path(), image_size=config.data.image_size)
    return TrialConfig(data=data, task=config.task, architecture=config.architecture, strategy="full", epochs=1, lr=1)


@functools.lru_cache(maxsize=1024)
def _flops(config: TrialConfig, stages: Stages, cached: bool) -> float:
    model, images = _meta_model(config)
    set_trainable(model, stage_table(model).trainable(stages))
    set_train_mode(model)
    with FlopCounterMode(display=False) as forward, _Training(forward, cached) as training:
        model(images)
    return float(training.flops / _IMAGES)


@functools.lru_cache(maxsize=1024)
def _forward_flops(config: TrialConfig) -> float:
    model, images = _meta_model(config)
    with FlopCounterMode(display=False) as forward, torch.inference_mode():
        model(images)
    return float(forward.get_total_flops() / _IMAGES)


def _meta_model(config: TrialConfig) -> tuple[nn.Module, Tensor]:
    """Return the model without weights, and a batch of images without pixels."""
    size = config.data.image_size
    with torch.device("meta"):
        model = load_task(config.task).build(config, _CLASSES, bare=True)
        return model, torch.empty(_IMAGES, 3, size, size)


class _Training(TorchFunctionMode):
    """Adds to each operation's forward pass what its backward pass will take.

    That is as much again for each factor (weights or inputs) that needs a gradient. torch's own count of the backward
    pass takes depthwise convolutions for dense ones, a factor of 30 in a MobileNet.
    """

    def __init__(self, forward: FlopCounterMode, cached: bool) -> None:
        super().__init__()
        self.forward = forward
        self.cached = cached
        self.flops = 0.0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.forward.get_total_flops()
        output = func(*args, **(kwargs or {}))
        flops = self.forward.get_total_flops() - before
        if flops and not (self.cached and not output.requires_grad):
            factors = [each for each in args if isinstance(each, Tensor) and each.ndim > 1]
            self.flops += flops * (1 + min(2, sum(factor.requires_grad for factor in factors)))
        return output

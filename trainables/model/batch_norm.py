"""Batch normalization of a single value: settings under which no step can be taken, found before the first."""

import copy

import torch
from torch import nn

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.model.freeze import set_train_mode, set_trainable
from trainables.model.freeze_plan import freeze_plan
from trainables.model.stages import stage_table


def check_batch_norm(model: nn.Module, config: TrialConfig, images: int, workers: int) -> None:
    """Raise InvalidInput where a step sees one image, of which a thawed layer normalizes one value per channel.

    `images` is the number of images in the training split. The model is tried on one image, and is left as it is.
    """
    smallest = smallest_part(config.batch_size, config.micro_batch_size, images, workers)
    if smallest > 1 or (config.sync_batchnorm and workers > 1):
        return
    tried = copy.deepcopy(model)
    plan = freeze_plan(config)
    set_trainable(tried, stage_table(tried).trainable(plan.stages_at(plan.last_boundary)))
    set_train_mode(tried, config.norm_stats)
    device = next(tried.parameters()).device
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            tried(torch.zeros(1, 3, config.data.image_size, config.data.image_size, device=device))
    except ValueError as error:
        if "more than 1" not in str(error):  # torch's message; its class is shared with every other fault
            raise
        raise InvalidInput(
            f"{_settings(config, images, workers)}: BatchNorm needs two values per channel in a step, got a step of "
            f"one image, where {config.architecture} has one at data.image_size {config.data.image_size}; "
            f"{_remedy(config, images, workers)} a larger data.image_size, or norm_stats: frozen"
        ) from error


def smallest_part(batch_size: int, micro_batch_size: int | None, images: int, workers: int) -> int:
    """Return the least number of images that a worker takes through the model at once in an epoch of training."""
    steps = -(-images // batch_size)
    if batch_size > 1:  # as `batches` cuts an epoch
        steps = max(1, min(steps, images // 2))
    micro_batch = min(micro_batch_size or batch_size, images)
    shares = {share for batch in _cut(images, steps) for share in _cut(batch, workers)} - {0}
    return min(share // -(-share // micro_batch) for share in shares)


def _cut(count: int, parts: int) -> set[int]:
    """Return the sizes of parts that are as equal as can be."""
    return {count // parts, -(-count // parts)}


def _settings(config: TrialConfig, images: int, workers: int) -> str:
    micro_batch = "" if config.micro_batch_size is None else f", micro_batch_size: {config.micro_batch_size}"
    several = f", {workers} workers" if workers > 1 else ""
    return f"batch_size: {config.batch_size}{micro_batch}{several} for {images} images of train"


def _remedy(config: TrialConfig, images: int, workers: int) -> str:
    """Return the next larger batch with which each step has two images; nothing where there is none."""
    sizes = range(config.batch_size, config.batch_size + 4 * workers)
    size = next((size for size in sizes if smallest_part(size, None, images, workers) > 1), None)
    if size is None:
        return "set"
    return f"set batch_size: {size}{' without micro_batch_size' if config.micro_batch_size is not None else ''},"

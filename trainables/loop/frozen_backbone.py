"""FrozenBackbone: state shared by trials whose backbone never thaws; a process derives it once.

Such a trial is a linear layer on features in the node's cache. Reading weights, building the network and finding its
cut take longer than training that layer, with the same result for all such trials.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays
from trainables.data.stats import Channels
from trainables.loop.checkpoint import tensor_digests
from trainables.loop.feature_training import StoredFeatures
from trainables.loop.learner import Learner, seed_step
from trainables.loop.probe_head import check_linear_head
from trainables.loop.source_files import source_digests
from trainables.model.freeze import frozen_digest, set_train_mode
from trainables.task.task import load_task

HEAD_SETTINGS = frozenset(
    {
        *("seed", "epochs", "batch_size", "micro_batch_size", "objective", "patience", "min_delta", "head_init"),
        *("lr", "backbone_lr_factor", "stage_lr_decay", "scheduler", "warmup_epochs", "thaw_warmup_epochs"),
        *("optimizer", "weight_decay", "decay_to", "clip_norm", "ema_decay", "balance", "class_weighting"),
        *("focal_gamma", "label_smoothing", "teacher", "teacher_weight", "teacher_temperature"),
    }
)
"""Settings of the classifier and its training: trials that differ in these alone share their backbone."""

_TRIED_ON = 8
_TOLERANCE = 1e-5
_KEPT = 32
_known: dict[str, "FrozenBackbone"] = {}


@dataclass(frozen=True)
class FrozenBackbone:
    """A frozen backbone without its weights: its features by name, and the classifiers that trials start from."""

    features: StoredFeatures
    """Features of the images that trials train and are validated on."""

    classifier: str
    """Name of the classifier in the model."""

    mean: Channels
    std: Channels
    """Normalization of the images."""

    total_parameters: int
    """Number of parameters of the whole model."""

    frozen_digest: str | None
    """Digest of the model without its classifier, see `CheckpointState`."""

    starts: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Weight (outputs, width, ...) and bias (outputs,) of an untrained classifier, by seed."""

    def start(self, config: TrialConfig, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the classifier of `config` before its training."""
        if config.seed not in self.starts:
            self.starts[config.seed] = _fresh(load_task(config.task).build(config, classes), config)
        return self.starts[config.seed]


def known_backbone(config: TrialConfig, arrays: Arrays) -> FrozenBackbone | None:
    """Return the backbone of a trial; None if this process has not examined it yet."""
    return _known.get(_identity(config, arrays))


def examine_backbone(learner: Learner) -> FrozenBackbone | None:
    """Return the backbone of a learner that is ready for its first epoch, and cache it for `known_backbone`.

    Returns None if the learner trains on images, or if its outputs are no linear function of its features.
    """
    features, config, model = learner.phase.features, learner.config, learner.model
    if features is None:
        return None
    try:
        start = _fresh(model, config)
    except InvalidInput:
        return None
    name = next(name for name, module in model.named_modules() if module is _classifier(model))
    images = np.arange(min(_TRIED_ON, len(learner.split)))
    rows = features.batch(images, epoch=min(features.train))
    if f"{name}.weight" in _exempt_from_decay(model) or not _is_linear(learner, *start, rows):
        return None
    total = sum(parameter.numel() for parameter in model.parameters())
    own = {f"{name}.weight", f"{name}.bias"}
    digest = frozen_digest(model.state_dict(), own, tensor_digests(config))
    found = FrozenBackbone(features.stored, name, learner.mean, learner.std, total, digest, {config.seed: start})
    while len(_known) >= _KEPT:
        del _known[next(iter(_known))]
    _known[_identity(config, learner.arrays)] = found
    return found


def _identity(config: TrialConfig, arrays: Arrays) -> str:
    """Return everything that decides a backbone and its features, as text."""
    shared = config.model_dump(mode="json", exclude=set(HEAD_SETTINGS))
    return json.dumps([shared, source_digests([config]), arrays.fingerprints.stored, arrays.classes])


def _fresh(model: nn.Module, config: TrialConfig) -> tuple[Tensor, Tensor]:
    """Return copies of the weight and the bias of the classifier; raises InvalidInput where it is no linear layer."""
    weight, bias = check_linear_head(model, config.architecture)
    return weight.detach().clone(), bias.detach().clone()


def _exempt_from_decay(model: Any) -> Collection[str]:
    names: Collection[str] = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    return names


def _classifier(model: Any) -> nn.Module:
    classifier: nn.Module = model.get_classifier()
    return classifier


def _is_linear(learner: Learner, weight: Tensor, bias: Tensor, rows: Tensor) -> bool:
    """Return whether the model is a linear layer behind its cut: in eval mode, and behind dropout in train mode."""
    config, model, suffix = learner.config, learner.model, learner.phase.part
    if rows.shape[1] != weight[0].numel():
        return False
    found, expected = [], []
    with torch.no_grad():
        for is_training in (False, True):
            if is_training:
                set_train_mode(model, config.norm_stats)
            else:
                suffix.eval()
            seed_step(config.seed, 0, 0, 0, rows.device)
            found.append(suffix(rows))
            seed_step(config.seed, 0, 0, 0, rows.device)
            dropped = functional.dropout(rows, config.dropout, is_training)
            expected.append(functional.linear(dropped, weight.flatten(1), bias))
    return all(
        one.shape == other.shape and torch.allclose(one, other, _TOLERANCE, _TOLERANCE * float(other.abs().max()))
        for one, other in zip(found, expected, strict=True)
    )

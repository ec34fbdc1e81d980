"""HeadLearner: learner of a trial whose backbone never thaws: a linear layer on features.

It computes bit by bit what `Learner` computes for such a trial, without the network, the images and other workers; see
`docs/heads.md`. The trials of a process share their `FrozenBackbone`, and nothing that a trial changes.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays
from trainables.data.balance import batches, epoch_order
from trainables.data.lazy_images import Indices
from trainables.data.node_cache import NodeCache
from trainables.data.stats import Channels
from trainables.fixed_views import fixed_views
from trainables.loop.checkpoint import load_part, optimizer_tensors, save_checkpoint
from trainables.loop.feature_training import PhaseFeatures, epoch_draw
from trainables.loop.frozen_backbone import FrozenBackbone, examine_backbone, known_backbone
from trainables.loop.learner import Learner, mean_loss, moving_average, seed_step
from trainables.loop.optim import build_optimizer, parameter_groups, peak_lr, rates, set_learning_rates
from trainables.loop.probe_head import fit_probe
from trainables.loop.teacher import teacher_outputs
from trainables.model.freeze_plan import freeze_plan
from trainables.task import inference
from trainables.task.task import load_task

log = logging.getLogger(__name__)

_GATHERED = 2**26
"""Bytes of features that are gathered at once; steps read slices of them."""

_EVALUATED = 4096
"""Rows of the validation split that are computed at once."""


class LinearHead(nn.Module):
    """A classifier on rows (n, width), whose weight keeps the shape that it has in its model."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, rows: Tensor) -> Tensor:
        """Compute outputs (n, outputs) of rows (n, width)."""
        return functional.linear(rows, self.weight.flatten(1), self.bias)


class HeadLearner:
    """Classifier, optimizer and moving average of one trial."""

    is_main = True
    cached = True
    scaler_state: Mapping[str, float] = MappingProxyType({})

    def __init__(
        self, config: TrialConfig, arrays: Arrays, cache: NodeCache, backbone: FrozenBackbone, features: PhaseFeatures
    ) -> None:
        self.config = config
        self.arrays = arrays
        self.cache = cache
        self.backbone = backbone
        self.features = features
        self.device = features.stored.device
        self.plan = freeze_plan(config)
        self.task = load_task(config.task)
        self.notes: list[str] = []
        self.micro_batch = min(config.micro_batch_size or config.batch_size, len(arrays.dataset.splits["train"]))
        self.head = LinearHead(*backbone.start(config, arrays.classes)).to(self.device)
        self.part = _with_name(backbone.classifier, self.head)
        names = [name for name, _ in self.part.named_parameters()]
        groups = parameter_groups(
            self.part, names, stage=0, peak_lr=peak_lr(config, 0), weight_decay=config.weight_decay, since=0
        )
        self.optimizer = build_optimizer(config, groups)
        self.ema = moving_average(self.part, config.ema_decay)
        self.sample_weights = self.task.sample_weights(config, arrays.dataset)
        teacher = teacher_outputs(config, arrays, cache)
        self.criterion = self.task.criterion(config, arrays.dataset, self.device, teacher)

    def start_head(self) -> None:
        """Set the classifier to what it starts from, before it has trained."""
        if self.config.head_init == "probe":
            found = fit_probe(self.config, self.arrays.dataset, self.features.only_view, self.cache)
            probe = torch.from_numpy(found).to(self.device)
            with torch.no_grad():
                self.head.weight.copy_(probe[:, :-1].reshape(self.head.weight.shape))
                self.head.bias.copy_(probe[:, -1])

    def thaw(self, epoch: int) -> None:
        """Do nothing: the backbone is frozen for good."""

    def train_epoch(self, epoch: int, plateaus: int) -> dict[str, float]:
        """Train one epoch; returns the mean training loss and the rates of its last step.

        Raises TrialFailed when a loss is not finite.
        """
        order = epoch_order(len(self.arrays.dataset.splits["train"]), self.config.seed, epoch, self.sample_weights)
        steps = batches(order, self.config.batch_size)
        losses = []
        for step, (batch, rows) in enumerate(self._rows(steps, epoch)):
            set_learning_rates(self.optimizer, self.config, epoch + step / len(steps), 1 / len(steps), plateaus)
            losses.append(torch.stack(self._step(batch, rows, epoch, step)))
        found = torch.stack(losses, dim=1)
        return {"train/loss": mean_loss(found, self.config, epoch), **rates(self.optimizer)}

    def validate(self) -> npt.NDArray[np.float32]:
        """Compute outputs (n, ...) of the validation split."""
        rows = np.arange(self.features.val_count)
        return inference.predict_features(self.trained, self.features.validation, rows, _EVALUATED)

    def save_trained(self, folder: Path, state: CheckpointState) -> None:
        """Write a checkpoint of the classifier that is evaluated, from which nothing can continue."""
        save_checkpoint(folder, (self.part if self.ema is None else self.ema.module).state_dict(), state)

    def save(self, folder: Path, state: CheckpointState, weights_in: Path | None = None) -> None:
        """Write a checkpoint from which the trial can continue; see `save_checkpoint`."""
        average = None if self.ema is None else self.ema.state_dict()
        tensors = self.part.state_dict(), optimizer_tensors(self.optimizer)
        save_checkpoint(folder, tensors[0], state, tensors[1], average, weights_in=weights_in)

    def restore(self, folder: Path, state: CheckpointState) -> None:
        """Take over a checkpoint of the same configuration, whose `state` has been read."""
        load_part(folder, self.part, self.optimizer, self.ema)
        self.micro_batch = state.micro_batch

    def wait(self) -> None:
        """Do nothing: there are no other workers."""

    @property
    def trained(self) -> nn.Module:
        """The classifier that is evaluated and kept: the moving average where there is one."""
        return self.head if self.ema is None else self.ema.module.get_submodule(self.backbone.classifier)

    @property
    def parameter_counts(self) -> tuple[int, int]:
        """Number of parameters of the whole model, and of the classifier."""
        return self.backbone.total_parameters, self.head.weight.numel() + self.head.bias.numel()

    @property
    def mean(self) -> Channels:
        """Mean by which the images were normalized."""
        return self.backbone.mean

    @property
    def std(self) -> Channels:
        """Standard deviation by which the images were normalized."""
        return self.backbone.std

    @property
    def frozen_digest(self) -> str | None:
        """Digest of the rest of the model."""
        return self.backbone.frozen_digest

    def _rows(self, steps: list[Indices], epoch: int) -> Iterator[tuple[Indices, Tensor]]:
        """Yield each batch (n,) with its features (n, width), gathered for many steps at once."""
        width = self.features.stored.cut.width
        at_once = max(1, _GATHERED // (4 * width * len(steps[0])))
        for start in range(0, len(steps), at_once):
            part = steps[start : start + at_once]
            rows = self.features.batch(np.concatenate(part), epoch)
            yield from zip(part, torch.split(rows, [len(batch) for batch in part]), strict=True)

    def _step(self, batch: Indices, rows: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Take one optimizer step; returns the sum of the losses and the weight of the batch."""
        config = self.config
        draw = epoch_draw(config, epoch, 0)
        targets = self.criterion.targets(batch, batch, draw)
        weight, losses = self.criterion.weight(targets), []
        if config.dropout:
            seed_step(config.seed, epoch, step, 0, self.device)
        self.head.weight.grad = self.head.bias.grad = None  # as zero_grad, in a tenth of its time
        for part, given in self._parts(batch, rows):
            dropped = functional.dropout(given, config.dropout) if config.dropout else given
            own = targets if part is batch else self.criterion.targets(part, part, draw)
            loss = self.criterion.loss(self.head(dropped), own)
            (loss / weight).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach().double())
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.head.parameters(), config.clip_norm)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update_parameters(self.part)
        return sum(losses[1:], losses[0]), weight.double()

    def _parts(self, batch: Indices, rows: Tensor) -> Iterable[tuple[Indices, Tensor]]:
        """Return the parts of a batch whose gradients are added up: all of it, unless `micro_batch` is smaller."""
        count = -(-len(batch) // self.micro_batch)
        if count == 1:
            return [(batch, rows)]
        return zip(np.array_split(batch, count), torch.tensor_split(rows, count), strict=True)


TrialLearner = Learner | HeadLearner


def open_learner(
    config: TrialConfig, arrays: Arrays, cache: NodeCache, state: CheckpointState | None = None
) -> TrialLearner:
    """Return the learner of a trial: `HeadLearner` if it computes the same as `Learner`.

    `state` is that of the checkpoint from which the trial resumes; None for a new trial.
    """
    reason = _why_whole(config)
    backbone = None if reason else known_backbone(config, arrays)
    features = None if backbone is None else backbone.features.find(cache, range(config.epochs))
    learner = None
    if reason is None and features is None:
        learner = Learner(config, arrays, cache)
        # By its epoch a resumed trial does not repeat the notes of its first one.
        learner.prepare(0 if state is None else min(len(state.reports), config.epochs - 1))
        backbone, features = examine_backbone(learner), learner.phase.features
        reason = None if backbone else "its outputs are no linear function of cached features"
    if state is not None and backbone is not None and state.frozen_digest not in (None, backbone.frozen_digest):
        reason = "its checkpoint is of other weights, or leaves out less than the backbone"
    if reason is None and backbone is not None and features is not None:
        return HeadLearner(config, arrays, cache, backbone, features)
    if config.strategy == "head":
        log.info("the classifier is not trained by itself: %s", reason)
    return learner or Learner(config, arrays, cache)


def _with_name(name: str, module: nn.Module) -> nn.Module:
    """Return a module in which `module` has this name, as it has in its model."""
    whole = nn.Module()
    *parents, last = name.split(".")
    place = whole
    for parent in parents:
        place.add_module(parent, nn.Module())
        place = place.get_submodule(parent)
    place.add_module(last, module)
    return whole


def _why_whole(config: TrialConfig) -> str | None:
    """Return the reason for which the classifier of a trial is not trained by itself; None where it may be."""
    views = fixed_views(config)
    if config.strategy != "head" or not views:
        return "its features change"
    if config.weights == "none":
        return "weights: none, so that its checkpoints hold the backbone"
    if config.head_init == "probe" and views > 1:
        return "head_init: probe, on other features than those of feature_views"
    if config.precision != "fp32" or config.compile:
        return f"precision: {config.precision}, compile: {config.compile}"
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return "several workers"
    return None

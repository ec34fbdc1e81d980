"""FoldHeads: learner of a trial with folds: one head per fold, trained on the features of the other folds.

The features of all images are computed once. Each head is computed as by a trial of its own whose val is the fold: a
`HeadLearner` with the images, class weights and steps of that trial.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from search_spaces.errors import InvalidInput
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays
from trainables.data.node_cache import NodeCache
from trainables.loop.checkpoint import load_part, optimizer_tensors, save_checkpoint
from trainables.loop.head_learner import HeadLearner, TrialLearner, open_learner


class FoldHeads:
    """Heads of all folds of one trial. Outputs of val are out of fold: each image by the head that has not seen it."""

    is_main = True
    cached = True
    scaler_state: Mapping[str, float] = MappingProxyType({})

    def __init__(self, whole: HeadLearner, arrays: Arrays) -> None:
        """`whole` is the learner of one head on all images, whose backbone and features are shared."""
        self.config = whole.config
        self.arrays = arrays
        self.plan = whole.plan
        self.task = whole.task
        self.notes: list[str] = []
        self.parameter_counts = whole.parameter_counts
        self.mean, self.std, self.frozen_digest = whole.mean, whole.std, whole.frozen_digest
        dataset = arrays.dataset
        self._val_rows = [dataset.fold_rows(fold)[1] for fold in range(dataset.folds)]
        self.heads = [
            HeadLearner(
                whole.config,
                replace(arrays, dataset=dataset.of_fold(fold), splits={}),  # a head reads features alone
                whole.cache,
                whole.backbone,
                replace(whole.features, train_rows=dataset.fold_rows(fold)[0], val_rows=self._val_rows[fold]),
            )
            for fold in range(dataset.folds)
        ]

    @property
    def ema(self) -> nn.Module | None:
        """The moving average of the first head; None where the heads have none."""
        return self.heads[0].ema

    @property
    def micro_batch(self) -> int:
        """Number of images that are computed at once."""
        return self.heads[0].micro_batch

    def start_head(self) -> None:
        """Set each head to what it starts from, before it has trained."""
        for head in self.heads:
            head.start_head()

    def thaw(self, epoch: int) -> None:
        """Do nothing: the backbone is frozen for good."""

    def train_epoch(self, epoch: int, plateaus: int) -> dict[str, float]:
        """Train one epoch of each head; returns the mean training loss, and the rates of the first head's last step.

        Raises TrialFailed when a loss is not finite.
        """
        found = [head.train_epoch(epoch, plateaus) for head in self.heads]
        return {**found[0], "train/loss": fmean(metrics["train/loss"] for metrics in found)}

    def validate(self) -> npt.NDArray[np.float32]:
        """Compute out-of-fold outputs (n, ...) of all images, in the order of val."""
        parts = [head.validate() for head in self.heads]
        outputs = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), np.float32)
        for rows, part in zip(self._val_rows, parts, strict=True):
            outputs[rows] = part
        return outputs

    def save_trained(self, folder: Path, state: CheckpointState) -> None:
        """Write a checkpoint of the heads that are evaluated, from which nothing can continue."""
        trained = (head.part if head.ema is None else head.ema.module for head in self.heads)
        save_checkpoint(folder, _joined(part.state_dict() for part in trained), state)

    def save(self, folder: Path, state: CheckpointState, weights_in: Path | None = None) -> None:
        """Write a checkpoint from which the trial can continue; see `save_checkpoint`."""
        averages = [head.ema.state_dict() for head in self.heads if head.ema is not None]
        save_checkpoint(
            folder,
            _joined(head.part.state_dict() for head in self.heads),
            state,
            _joined(optimizer_tensors(head.optimizer) for head in self.heads),
            _joined(averages) if averages else None,
            weights_in=weights_in,
        )

    def restore(self, folder: Path, state: CheckpointState) -> None:
        """Take over a checkpoint of the same configuration, whose `state` has been read."""
        for fold, head in enumerate(self.heads):
            load_part(folder, head.part, head.optimizer, head.ema, _prefix(fold))
            head.micro_batch = state.micro_batch

    def wait(self) -> None:
        """Do nothing: there are no other workers."""


AnyLearner = TrialLearner | FoldHeads


def open_fold_heads(
    config: TrialConfig, arrays: Arrays, cache: NodeCache, state: CheckpointState | None = None
) -> FoldHeads:
    """Return the learner of a trial whose data set has folds; `state` as for `open_learner`.

    Raises InvalidInput where heads cannot be trained on cached features.
    """
    whole = open_learner(config, replace(arrays, dataset=replace(arrays.dataset, fold_of=())), cache, state)
    if not isinstance(whole, HeadLearner):
        raise InvalidInput(
            f"data.folds trains heads on cached features, which is not possible with {config.architecture}: "
            f"{'; '.join(whole.notes) or 'its outputs are no linear function of them'}; remove data.folds, take "
            "another architecture, or raise storage.cache_budget"
        )
    return FoldHeads(whole, arrays)


def open_trial_learner(
    config: TrialConfig, arrays: Arrays, cache: NodeCache, state: CheckpointState | None = None
) -> AnyLearner:
    """Return the learner of a trial, with or without folds; see `open_learner`."""
    return (open_fold_heads if arrays.dataset.folds else open_learner)(config, arrays, cache, state)


def _prefix(fold: int) -> str:
    return f"fold_{fold}."


def _joined(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the tensors of the heads, the name of each after that of its fold."""

    def named() -> Iterator[tuple[str, Tensor]]:
        for fold, tensors in enumerate(parts):
            for name, tensor in tensors.items():
                yield f"{_prefix(fold)}{name}", tensor

    return dict(named())

"""Task: the seam between what is learned and how. All that the loop, the evaluation and the export know of a task.

Light to import: types of torch are for the type checker alone. `trainables.task_catalog` lists the tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol

from trainables.task_catalog import task_entry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import Tensor, nn

    from trainables.bundle.export import ExportBundle
    from trainables.config import TrialConfig
    from trainables.data.lazy_images import Indices
    from trainables.data.preprocess import Preprocessing
    from trainables.data.readers import Dataset
    from trainables.data.sample_random import Draw
    from trainables.interval import Difference
    from trainables.task.evaluation import Evaluation
    from trainables.task.inference import Tta

    Outputs = npt.NDArray[np.float32]


class Task(Protocol):
    """Model, targets, loss, measure and export of one kind of output.

    `outputs` are what the model gives for a split, float32 (n, ...), one row per sample in the order of the split, the
    rows gathered over all ranks. `targets` are what `Task.targets` gives: only the task looks into them.
    """

    @property
    def tta(self) -> tuple[Tta, ...]:
        """The kinds of test-time augmentation whose views `vote` can combine; `none` is one."""
        ...

    def build(self, config: TrialConfig, classes: Sequence[str], *, bare: bool = False) -> nn.Module:
        """Build the model of `config` on the CPU, with the weights that it starts from.

        One configuration gives one model, to the last bit: a checkpoint holds only what was trained of it.
        `bare`: random weights and no dropout, for a checkpoint to overwrite or for sizes alone; on the device that is
        set, be it `meta`. The model has timm's `get_classifier`, `group_matcher` and `num_classes`, and gives one dense
        tensor (n, ...) in train and in eval mode. Raises InvalidInput for a model or weights that cannot be used.
        """
        ...

    def targets(self, dataset: Dataset, split: str) -> Any:
        """Give the targets of a split: array-like, one row per sample, of any length each."""
        ...

    def sample_weights(self, config: TrialConfig, dataset: Dataset) -> npt.NDArray[np.float64] | None:
        """Give the weight (n,) with which each training sample is drawn; None: every sample once per epoch."""
        ...

    def criterion(
        self, config: TrialConfig, dataset: Dataset, device: torch.device, teacher: Outputs | None
    ) -> Criterion:
        """Give the loss of training batches, its constants on `device`.

        `teacher` are a model's outputs (n, classes) of the training split, which the trial is to learn as well; None
        where it has no teacher, as for every task that does not read the setting.
        """
        ...

    def probe(self, config: TrialConfig, dataset: Dataset) -> LinearProbe:
        """Give the linear probe of the training split; asked for only where the task reads `head_init`."""
        ...

    def measure(self, outputs: Outputs, targets: Any, metrics_version: int) -> dict[str, float]:
        """Measure outputs of a split: the metrics of the catalog, without the prefix `val/`.

        `metrics_version` is that of their definitions, see `METRICS_VERSION`.
        """
        ...

    def predictions(self, outputs: Outputs, dataset: Dataset, split: str) -> Mapping[str, Any]:
        """Give the columns of the file of predictions by name, `path` first."""
        ...

    def vote(self, outputs: Sequence[Outputs]) -> Outputs:
        """Combine the outputs of several views or models of the same images; one alone is itself."""
        ...

    def voter(self, models: Sequence[nn.Module]) -> nn.Module:
        """Join models into one, whose outputs are the vote of theirs; raises InvalidInput where there is no such."""
        ...

    def evaluate(self, outputs: Outputs, dataset: Dataset, split: str, metrics_version: int) -> Evaluation:
        """Measure a finished model, or a vote, on a split, with all that the task can say; see `measure`."""
        ...

    def judge(self, expected: Outputs, outputs: Outputs, targets: Any) -> Difference:
        """Measure how much worse `outputs` are than those of the trained model: what a smaller form of it loses."""
        ...

    def export(
        self,
        model: nn.Module,
        labels: Sequence[str],
        preprocessing: Preprocessing,
        config: Mapping[str, Any],
        fingerprint: str,
        images: Iterable[tuple[str, bytes]],
        folder: Path,
        targets: Any,
    ) -> ExportBundle:
        """Export a trained model into `folder`, verified on `images` and their `targets`, see `export_bundle`.

        Raises ExportRefused when the file does not compute what the model computes, or the task has no export.
        """
        ...


class Criterion(Protocol):
    """Loss of training batches. A batch's loss is `loss / weight` of the global batch, over ranks and micro-batches."""

    def targets(self, indices: Indices, partners: Indices, draw: Draw) -> Any:
        """Give the targets of a batch on the device.

        `indices` (n,) are positions in the training split, `partners` (n,) those of the images mixed in, `draw` the
        one by which the images are augmented: what moves an image moves its targets.
        """
        ...

    def weight(self, targets: Any) -> Tensor:
        """Give the weight of a batch, a scalar, from its targets alone."""
        ...

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """Give the sum, a scalar, of the losses of a batch's samples, each times its weight."""
        ...


class LinearProbe(Protocol):
    """The best linear head on frozen features of the training split."""

    @property
    def outputs(self) -> int:
        """Number of outputs of the head."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides the fit beside the features; JSON-ready."""
        ...

    def fit(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Fit features (n, d): the weights and, last, the bias of each output, (outputs, d + 1). Deterministic."""
        ...


@cache
def load_task(name: str) -> Task:
    """Import the implementation of a task; raises InvalidInput for an unknown name."""
    found: Task = resolve_name(task_entry(name).implementation)
    return found

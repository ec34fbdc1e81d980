"""Classification: one label per image. The first task, and the example for others."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainables.config import TrialConfig
from trainables.data.augmentation.mixing import pair_shares
from trainables.data.balance import class_weights
from trainables.data.lazy_images import Indices
from trainables.data.preprocess import Preprocessing
from trainables.data.readers import Dataset
from trainables.data.sample_random import Draw
from trainables.interval import Difference
from trainables.model.build import bare_model, build_model
from trainables.task.bootstrap import Labels, Logits, paired_bootstrap
from trainables.task.classification_loss import Answers, Targets, loss_sum
from trainables.task.classification_scores import evaluate_logits, metrics, probabilities, soft_vote
from trainables.task.evaluation import Evaluation
from trainables.task.inference import VIEWS, Tta
from trainables.task.soft_vote import SoftVote
from trainables.task.task import Task

if TYPE_CHECKING:  # a trial waits neither for onnx nor for onnxruntime
    from trainables.bundle.export import ExportBundle
    from trainables.task.logistic_probe import LogisticProbe


class Classification:
    """Outputs are logits (n, classes), targets are labels (n,)."""

    tta: tuple[Tta, ...] = tuple(VIEWS)

    def build(self, config: TrialConfig, classes: Sequence[str], *, bare: bool = False) -> nn.Module:
        """Build a timm classifier with one logit per class."""
        return bare_model(config.architecture, len(classes)) if bare else build_model(config, len(classes))

    def targets(self, dataset: Dataset, split: str) -> Labels:
        """Give the labels (n,) of a split."""
        return dataset.labels(split)

    def sample_weights(self, config: TrialConfig, dataset: Dataset) -> npt.NDArray[np.float64] | None:
        """Give each training sample the weight of its class, under `balance: sampler`."""
        if config.balance != "sampler":
            return None
        labels = dataset.labels("train")
        return class_weights(labels, len(dataset.classes), config.class_weighting)[labels]

    def criterion(
        self, config: TrialConfig, dataset: Dataset, device: torch.device, teacher: Logits | None
    ) -> "LabelCriterion":
        """Give the loss of training batches, weighted by class under `balance: loss`."""
        labels = dataset.labels("train")
        weights = np.ones(len(dataset.classes))
        if config.balance == "loss":
            weights = class_weights(labels, len(dataset.classes), config.class_weighting)
        return LabelCriterion(config, labels, weights, device, teacher)

    def probe(self, config: TrialConfig, dataset: Dataset) -> "LogisticProbe":
        """Give the logistic regression of the labels, weighted by class under `balance: sampler` and `loss`."""
        from trainables.task.logistic_probe import LogisticProbe

        labels, classes = dataset.labels("train"), len(dataset.classes)
        balanced = config.balance != "none"
        weights = class_weights(labels, classes, config.class_weighting) if balanced else np.ones(classes)
        return LogisticProbe(labels, classes, weights)

    def measure(self, outputs: Logits, targets: Labels, metrics_version: int) -> dict[str, float]:
        """Measure loss, accuracy, balanced accuracy and macro-F1."""
        return metrics(outputs, targets, metrics_version)

    def predictions(self, outputs: Logits, dataset: Dataset, split: str) -> Mapping[str, Any]:
        """Give path, label, predicted and one probability per class."""
        classes, samples = dataset.classes, dataset.splits[split]
        return {
            "path": [sample.path for sample in samples],
            "label": [classes[sample.label] for sample in samples],
            "predicted": [classes[index] for index in outputs.argmax(axis=1)],
            **{f"p({name})": column for name, column in zip(classes, probabilities(outputs).T, strict=True)},
        }

    def vote(self, outputs: Sequence[Logits]) -> Logits:
        """Average probabilities: the logarithm of their mean, itself logits."""
        return soft_vote(outputs)

    def voter(self, models: Sequence[nn.Module]) -> nn.Module:
        """Join classifiers into one that averages their probabilities."""
        return SoftVote(models)

    def evaluate(self, outputs: Logits, dataset: Dataset, split: str, metrics_version: int) -> Evaluation:
        """Measure a split: with intervals, by class, with the confusion matrix."""
        return evaluate_logits(outputs, dataset.labels(split), dataset.classes, split, metrics_version)

    def judge(self, expected: Logits, outputs: Logits, targets: Labels) -> Difference:
        """Measure the loss of macro-F1."""
        return paired_bootstrap(expected, outputs, targets, "macro_f1")

    def export(
        self,
        model: nn.Module,
        labels: Sequence[str],
        preprocessing: Preprocessing,
        config: Mapping[str, Any],
        fingerprint: str,
        images: Iterable[tuple[str, bytes]],
        folder: Path,
        targets: Labels | None,
    ) -> "ExportBundle":
        """Export to ONNX, with parity measured on `images`, and calibration with their labels (n,), where given."""
        from trainables.bundle.export import export_bundle
        from trainables.task.calibration import fit_calibration

        calibrate = None if targets is None else lambda logits: fit_calibration(logits, targets).to_json()
        return export_bundle(model, labels, preprocessing, config, fingerprint, images, folder, calibrate)


class LabelCriterion:
    """Weighted cross-entropy of labels, or of pairs of labels where images are mixed, and the distance to a teacher."""

    def __init__(
        self,
        config: TrialConfig,
        labels: Labels,
        weights: npt.NDArray[np.float64],
        device: torch.device,
        teacher: Logits | None,
    ) -> None:
        """`labels` (n,) and `teacher` (n, classes) are of the training split, `weights` (classes,) of the classes."""
        self.config = config
        self.device = device
        self.labels = torch.from_numpy(labels).to(device)
        self.class_weights = torch.tensor(weights, dtype=torch.float32, device=device)
        self.taught = None
        if teacher is not None:
            self.taught = torch.log_softmax(torch.tensor(teacher) / config.teacher_temperature, dim=1).to(device)

    def targets(self, indices: Indices, partners: Indices, draw: Draw) -> Targets:
        """Give the labels of a batch, and those mixed in with their shares."""
        own = self._answers(indices)
        config = self.config
        if config.mixing == "none":
            return Targets(own)
        shares = pair_shares(config.mixing, config.mixing_alpha, draw.seed, draw.epoch, indices, config.data.image_size)
        return Targets(own, self._answers(partners), torch.from_numpy(shares).to(self.device))

    def weight(self, targets: Targets) -> Tensor:
        """Give the sum of the weights of the samples."""
        return targets.weights(self.class_weights).sum()

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """Give the sum of the weighted losses of logits (n, classes)."""
        return loss_sum(
            outputs,
            targets,
            self.class_weights,
            focal_gamma=self.config.focal_gamma,
            label_smoothing=self.config.label_smoothing,
            teacher_weight=self.config.teacher_weight,
            teacher_temperature=self.config.teacher_temperature,
        )

    def _answers(self, indices: Indices) -> Answers:
        rows = torch.from_numpy(np.ascontiguousarray(indices)).to(self.device)
        return Answers(self.labels[rows], None if self.taught is None else self.taught[rows])


CLASSIFICATION: Task = Classification()

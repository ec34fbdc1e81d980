"""Rotation: by how many degrees a picture was turned, which stands in its file's name, as in `7_-12.png`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

from search_spaces.errors import ExportRefused
from trainables.model.build import bare_model, build_model
from trainables.task.evaluation import Evaluation

DEGREES = 45.0


class Rotation:
    """Outputs are (n, 1), targets (n,), both in units of 45 degrees."""

    tta = ("none",)

    def build(self, config: Any, classes: Sequence[str], *, bare: bool = False) -> nn.Module:
        return bare_model(config.architecture, 1) if bare else build_model(config, 1)

    def targets(self, dataset: Any, split: str) -> Any:
        angles = [float(Path(sample.path).stem.split("_")[1]) for sample in dataset.splits[split]]
        return np.array(angles, dtype=np.float32) / DEGREES

    def sample_weights(self, config: Any, dataset: Any) -> None:
        return None

    def criterion(self, config: Any, dataset: Any, device: torch.device, teacher: Any) -> "AngleCriterion":
        return AngleCriterion(torch.from_numpy(self.targets(dataset, "train")).to(device))

    def probe(self, config: Any, dataset: Any) -> "AngleProbe":
        return AngleProbe(self.targets(dataset, "train"))

    def measure(self, outputs: Any, targets: Any, metrics_version: int) -> dict[str, float]:
        errors = outputs[:, 0].astype(float) - targets
        return {"mae": float(np.abs(errors).mean() * DEGREES), "loss": float((errors**2).mean())}

    def predictions(self, outputs: Any, dataset: Any, split: str) -> Mapping[str, Any]:
        paths = [sample.path for sample in dataset.splits[split]]
        return {"path": paths, "angle": self.targets(dataset, split) * DEGREES, "predicted": outputs[:, 0] * DEGREES}

    def vote(self, outputs: Sequence[Any]) -> Any:
        return outputs[0] if len(outputs) == 1 else np.mean(outputs, axis=0)

    def voter(self, models: Any) -> Any:
        raise ExportRefused("task rotation has no export; use its checkpoint")

    def evaluate(self, outputs: Any, dataset: Any, split: str, metrics_version: int) -> Evaluation:
        measured = self.measure(outputs, self.targets(dataset, split), metrics_version)
        return Evaluation(split=split, metrics=measured)

    def judge(self, expected: Any, outputs: Any, targets: Any) -> Any:
        raise ExportRefused("task rotation has no export; use its checkpoint")

    def export(self, *_: Any, **__: Any) -> Any:
        raise ExportRefused("task rotation has no export; use its checkpoint")


class AngleCriterion:
    """Squared error; each sample weighs 1."""

    def __init__(self, angles: Tensor) -> None:
        self.angles = angles

    def targets(self, indices: Any, partners: Any, draw: Any) -> Tensor:
        return self.angles[torch.from_numpy(np.ascontiguousarray(indices))]

    def weight(self, targets: Tensor) -> Tensor:
        return targets.new_tensor(len(targets))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs[:, 0].float() - targets) ** 2).sum()


class AngleProbe:
    """Ridge regression of the angles."""

    outputs = 1

    def __init__(self, angles: Any) -> None:
        self.angles = angles

    @property
    def identity(self) -> dict[str, Any]:
        return {"angles": self.angles.tolist()}

    def fit(self, features: Any) -> Any:
        found = RidgeCV(alphas=np.logspace(-3, 3, 7)).fit(features, self.angles)
        return np.append(found.coef_, found.intercept_)[None].astype(np.float32)


ROTATION = Rotation()

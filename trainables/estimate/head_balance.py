"""Heads under each answer to imbalance, on the cached features of one architecture: which serves the rare classes.

Each is an ordinary head trial, over several seeds, measured after its last epoch: no epoch is chosen on the images that
it is measured on. All are compared with one another on the same images (paired bootstrap).
"""

import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from trainables.config import TrialConfig
from trainables.data.arrays import Arrays
from trainables.data.summary.class_counts import count_classes
from trainables.estimate.probe_scores import one_hot
from trainables.estimate.recommendation import IMBALANCED
from trainables.estimate.weights_at_hand import without_hub
from trainables.interval import Difference, Interval, share_interval
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders
from trainables.task.bootstrap import paired_bootstrap
from trainables.task.classification_scores import metrics

ANSWERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "none": {"balance": "none"},
        "sampler": {"balance": "sampler", "class_weighting": "inverse"},
        "loss": {"balance": "loss", "class_weighting": "inverse"},
        "effective": {"balance": "loss", "class_weighting": "effective"},
        "focal": {"balance": "none", "focal_gamma": 2.0},
    }
)
"""Settings of a trial under each answer to imbalance."""

SEEDS = (0, 1, 2)
EPOCHS = 10
LEARNING_RATE = 1e-3

_CONFIDENCE = 0.95
_RESAMPLES = 4000

Outputs = Sequence[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class AnswerScore:
    """Heads under one answer to imbalance; values are means over the seeds."""

    name: str
    """Name of the answer, a key of `ANSWERS`."""

    recall: tuple[float | None, ...]
    """Recall of each class; None for a class without validation images."""

    intervals: tuple[Interval | None, ...]
    """95 % interval of each recall for other images."""

    macro_recall: float
    """Mean recall of the classes."""

    macro_f1: float
    """Macro-F1."""

    accuracy: float
    """Accuracy."""

    rare_recall: float | None
    """Mean recall of the rare classes; None where none of them has validation images."""

    against_none: Difference | None
    """Difference of that from `none`, whose interval holds for all answers together; None where it is not known."""


@dataclass(frozen=True)
class BalanceComparison:
    """Answers to imbalance, side by side."""

    architecture: str
    """Architecture whose features the heads are trained on."""

    classes: tuple[str, ...]
    """Class names."""

    train_images: tuple[int, ...]
    """Training images of each class."""

    val_images: tuple[int, ...]
    """Validation images of each class; with folds those of train, each measured by a head that had not seen it."""

    rare: tuple[str, ...]
    """Classes that the largest outnumbers by more than 3; without any, the smallest."""

    answers: tuple[AnswerScore, ...]
    """In the order of `ANSWERS`."""

    sampler_against: dict[str, Difference]
    """Mean recall of the rare classes, sampler less each other answer; empty where it is not known."""

    folds: int = 0
    """Folds of train that were held out in turn; 0 without folds."""


def compare_answers(config: TrialConfig, arrays: Arrays, cache: Path, budget: int | None = None) -> BalanceComparison:
    """Train heads of `config`, a head trial, under each answer and seed, and compare them on the validation images.

    Raises what `train` raises; nothing is downloaded.
    """
    outputs = dict[str, Outputs]()
    for name, settings in ANSWERS.items():
        found = []
        for seed in SEEDS:
            trial = TrialConfig.model_validate(config.model_dump() | {**settings, "seed": seed})
            found.append(_predicted(trial, arrays, cache, budget))
        outputs[name] = found
    return _compared(config.architecture, arrays, outputs)


def head_trial(config: TrialConfig) -> TrialConfig:
    """Return the head trial on the features of a configuration, all else as usual."""
    settings = {"strategy": "head", "head_init": "random", "epochs": EPOCHS, "lr": LEARNING_RATE}
    return TrialConfig.model_validate(config.model_dump() | settings)


def _predicted(config: TrialConfig, arrays: Arrays, cache: Path, budget: int | None) -> npt.NDArray[np.float32]:
    """Train one head; return the classes that it predicts of the validation images, (n, classes), 1 for that one."""
    with tempfile.TemporaryDirectory(prefix="thaw-balance-") as folder, without_hub():
        folders = TrialFolders(Path(folder) / "checkpoints", Path(folder) / "predictions.parquet", cache, budget)
        reports = train(config, folders, open_images=lambda _data, _cache, *, budget: arrays, keeps_newest=True)
        deque(reports, maxlen=0)
        names = pq.read_table(folders.predictions, columns=["predicted"])["predicted"].to_pylist()
    return one_hot(names, arrays.classes)


def _compared(architecture: str, arrays: Arrays, outputs: Mapping[str, Outputs]) -> BalanceComparison:
    counts, labels = count_classes(arrays.dataset), arrays.dataset.labels("val")
    rare = counts.rare(IMBALANCED)
    rows = np.flatnonzero(np.isin(labels, rare))
    # Every comparison with `none`, and every one with the sampler, holds with 95 % for all of its kind together.
    confidence = 1 - (1 - _CONFIDENCE) / (len(ANSWERS) - 1)

    def rare_difference(a: str, b: str) -> Difference:
        """Compare the mean recall of the rare classes, which is the balanced accuracy on their images."""
        of_a, of_b = ([found[rows] for found in outputs[name]] for name in (a, b))
        return paired_bootstrap(
            of_a, of_b, labels[rows], "balanced_accuracy", resamples=_RESAMPLES, confidence=confidence
        )

    against = {name: rare_difference(name, "none") for name in outputs} if len(rows) else {}
    sampler = {name: rare_difference("sampler", name) for name in outputs if name != "sampler"} if len(rows) else {}
    return BalanceComparison(
        architecture=architecture,
        classes=counts.classes,
        train_images=counts.train,
        val_images=counts.splits["train" if counts.folds else "val"],
        rare=tuple(counts.classes[label] for label in rare),
        answers=tuple(_score(name, outputs[name], labels, against.get(name)) for name in outputs),
        sampler_against=sampler,
        folds=counts.folds,
    )


def _score(name: str, outputs: Outputs, labels: npt.NDArray[np.int64], against: Difference | None) -> AnswerScore:
    classes = outputs[0].shape[1]
    support = np.bincount(labels, minlength=classes).tolist()
    hits = np.mean([np.bincount(labels[found.argmax(axis=1) == labels], minlength=classes) for found in outputs], 0)
    measured = [metrics(found, labels) for found in outputs]
    mean = {key: float(np.mean([each[key] for each in measured])) for key in measured[0]}
    return AnswerScore(
        name=name,
        recall=tuple(float(hit / count) if count else None for hit, count in zip(hits, support, strict=True)),
        intervals=tuple(
            share_interval(round(float(hit)), count) if count else None
            for hit, count in zip(hits, support, strict=True)
        ),
        macro_recall=mean["balanced_accuracy"],
        macro_f1=mean["macro_f1"],
        accuracy=mean["accuracy"],
        rare_recall=None if against is None else against.a,
        against_none=against,
    )

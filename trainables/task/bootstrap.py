"""Bootstrap (Efron, 1979): change of a metric on other test images, by percentiles. Numpy alone.

Stratified: each class keeps its number of images, so that a rare class is in every resample and its recall is defined;
the interval is that of images drawn anew from the same classes. To draw the images of a class with replacement is to
draw how often each of their outcomes occurs from a multinomial distribution: that costs as much for a million images as
for the few outcomes (class, predicted class) they have, and is not an approximation.

Intervals cover the choice of the images and nothing else: not that of the seed, nor that of the training images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from search_spaces.errors import InvalidInput, one_of
from trainables.interval import Difference, Interval, mean_share_interval, share_interval
from trainables.task_catalog import METRICS_VERSION

Statistic = Literal["accuracy", "balanced_accuracy", "macro_f1"]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)

Logits = np.ndarray[Any, Any]
Labels = np.ndarray[Any, Any]
Names = np.ndarray[Any, Any]
Counts = npt.NDArray[np.int64]


def statistic_of(metric: str) -> Statistic | None:
    """Return the statistic that is the metric `val/...`; None for a metric without a bootstrap."""
    return next((name for name in STATISTICS if f"val/{name}" == metric), None)


@dataclass(frozen=True)
class Intervals:
    """Intervals of one model's metrics."""

    metrics: dict[Statistic, Interval]
    """Of accuracy, balanced accuracy and macro-F1."""

    recall: tuple[Interval | None, ...]
    """Of each class's recall; None where the split has no image of it."""


def f1(right: Counts, support: Counts, claimed: Counts) -> npt.NDArray[np.float64]:
    """Compute F1 (..., classes) from counts of images by class: predicted rightly, of the class, predicted to be.

    The F1 of a class that does not occur is 0.
    """
    scores: npt.NDArray[np.float64] = 2 * right / np.maximum(support + claimed, 1)
    return scores


def macro_f1(right: Counts, support: Counts, claimed: Counts, metrics_version: int) -> npt.NDArray[np.float64]:
    """Compute macro-F1 (...) from the counts of `f1`, as `METRICS_VERSION` defines it."""
    counted = (support + claimed > 0) | (metrics_version > 1)
    mean: npt.NDArray[np.float64] = f1(right, support, claimed).sum(axis=-1) / counted.sum(axis=-1)
    return mean


def intervals(
    logits: Logits,
    labels: Labels,
    metrics_version: int = METRICS_VERSION,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Intervals of the metrics of (n, classes) logits against (n,) labels.

    A class has few images: the interval of its recall is that of a share. Where every resample is the same, as of a
    model that is always right, accuracy has the interval of a share too, balanced accuracy that of a mean of shares,
    and macro-F1 one as wide.
    """
    outcomes, draws = _resample([logits.argmax(axis=1)], labels, resamples, seed)
    counts = _counts(outcomes, draws, 0, logits.shape[1])
    values = {name: value(counts) for name, value in _statistics(metrics_version).items()}
    found = {name: _interval(drawn, confidence) for name, drawn in values.items()}
    hits, support = counts.right[0].tolist(), counts.support.tolist()
    if all(low == high for low, high in found.values()):
        found["accuracy"] = share_interval(sum(hits), sum(support), confidence)
        present = counts.support > 0
        balanced = mean_share_interval(counts.right[0, present].tolist(), counts.support[present].tolist(), confidence)
        found["balanced_accuracy"] = balanced
        shift = float(values["macro_f1"][0] - values["balanced_accuracy"][0])
        found["macro_f1"] = Interval(max(0.0, balanced.low + shift), min(1.0, balanced.high + shift))
    bounds = [share_interval(hit, count, confidence) for hit, count in zip(hits, support, strict=True)]
    return Intervals(
        metrics=found,
        recall=tuple(bound if count else None for bound, count in zip(bounds, support, strict=True)),
    )


def paired_bootstrap(
    logits_a: Logits | Sequence[Logits],
    logits_b: Logits | Sequence[Logits],
    labels: Labels,
    statistic: Statistic = "macro_f1",
    metrics_version: int = METRICS_VERSION,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Interval of the difference of `statistic` between two models on the same images, in the same order.

    A model is (n, classes) logits, or several of them, one a seed, be it as a list or as (seeds, n, classes): then its
    statistic is the mean over its seeds, all of them on the same resample. Because both models meet the same resampled
    images, what is hard for both cancels, and the interval is narrower than that of two independent ones. Raises
    InvalidInput for another statistic and for logits that are not those of the labels.
    """
    if statistic not in STATISTICS:
        raise InvalidInput(f"statistic {one_of(statistic, STATISTICS)}")
    sides = [_seeds(logits_a, labels), _seeds(logits_b, labels)]
    classes = {logits.shape[1] for side in sides for logits in side}
    if len(classes) > 1:
        raise InvalidInput(
            f"models must have the same classes, got {sorted(classes)} of them; compare models of one data set"
        )
    predicted = [logits.argmax(axis=1) for side in sides for logits in side]
    outcomes, draws = _resample(predicted, labels, resamples, seed)
    means, value = [], _statistics(metrics_version)[statistic]
    for columns in (range(len(sides[0])), range(len(sides[0]), len(predicted))):
        values = [value(_counts(outcomes, draws, column, *classes)) for column in columns]
        means.append(np.mean(values, axis=0))
    # The first row is the images as they are.
    differences = means[0] - means[1]
    return Difference(
        value=float(differences[0]),
        interval=_interval(differences, confidence),
        a=float(means[0][0]),
        b=float(means[1][0]),
    )


def bootstrap_of_names(
    labels: Names,
    a: Names,
    b: Names,
    statistic: Statistic = "macro_f1",
    metrics_version: int = METRICS_VERSION,
    classes: Sequence[str] = (),
) -> Difference:
    """Interval as of `paired_bootstrap`, of the names (n,) of true classes and of those that two models predict.

    `classes` are all classes; those that occur need not be among them.
    """
    known = np.unique(np.concatenate([labels, a, b, np.array(classes, dtype=str)]))
    logits = [np.equal.outer(predicted, known).astype(np.float32) for predicted in (a, b)]
    return paired_bootstrap(logits[0], logits[1], np.searchsorted(known, labels), statistic, metrics_version)


class _Outcomes(NamedTuple):
    """Outcomes of the images: each row is a distinct outcome."""

    label: npt.NDArray[np.int64]
    """(outcomes,) the true class."""

    predicted: npt.NDArray[np.int64]
    """(outcomes, models) what each model took it for."""


class _Counts(NamedTuple):
    """Of one model; the first row is the images as they are, the others are resamples."""

    right: npt.NDArray[np.int64]
    """(1 + resamples, classes) images of the class, predicted so."""

    claimed: npt.NDArray[np.int64]
    """(1 + resamples, classes) images predicted to be of the class."""

    support: npt.NDArray[np.int64]
    """(classes,) images of the class."""


def _seeds(logits: Logits | Sequence[Logits], labels: Labels) -> list[Logits]:
    several = [logits] if isinstance(logits, np.ndarray) and logits.ndim == 2 else list(logits)
    for one in several:
        if one.ndim != 2 or len(one) != len(labels) or not len(one):
            raise InvalidInput(
                f"logits must be (images, classes) for {len(labels)} labels, got {one.shape}; "
                "give the logits of one split, in the order of its labels"
            )
    if not several:
        raise InvalidInput("logits must be those of one seed or more, got none; give at least one")
    return several


def _resample(
    predicted: Sequence[npt.NDArray[np.int64]], labels: Labels, resamples: int, seed: int
) -> tuple[_Outcomes, npt.NDArray[np.int64]]:
    """Count how often each distinct outcome occurs: (outcomes, 1 + resamples), first in the images as they are."""
    rows, occurs = np.unique(np.stack([labels, *predicted], axis=1), axis=0, return_counts=True)
    draws = np.empty((len(rows), 1 + resamples), dtype=np.int64)
    draws[:, 0] = occurs
    generator = np.random.default_rng(seed)
    for label in np.unique(rows[:, 0]):
        own = rows[:, 0] == label
        images = occurs[own].sum()
        draws[own, 1:] = generator.multinomial(images, occurs[own] / images, size=resamples).T
    return _Outcomes(rows[:, 0], rows[:, 1:]), draws


def _counts(outcomes: _Outcomes, draws: npt.NDArray[np.int64], model: int, classes: int) -> _Counts:
    predicted = outcomes.predicted[:, model]
    hit = predicted == outcomes.label
    support = _by_class(draws[:, :1], outcomes.label, classes)[0]
    return _Counts(
        right=_by_class(draws[hit], predicted[hit], classes),
        claimed=_by_class(draws, predicted, classes),
        support=support,
    )


def _by_class(draws: npt.NDArray[np.int64], index: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """Return rows of `draws` (outcomes, columns) added up by their class: (columns, classes)."""
    sums = np.zeros((classes, draws.shape[1]), dtype=np.int64)
    order = np.argsort(index, kind="stable")
    present, starts = np.unique(index[order], return_index=True)
    if len(present):
        sums[present] = np.add.reduceat(draws[order], starts, axis=0)
    return sums.T


def _accuracy(counts: _Counts) -> npt.NDArray[np.float64]:
    accuracy: npt.NDArray[np.float64] = counts.right.sum(axis=1) / counts.support.sum()
    return accuracy


def _balanced_accuracy(counts: _Counts) -> npt.NDArray[np.float64]:
    present = counts.support > 0
    mean: npt.NDArray[np.float64] = (counts.right[:, present] / counts.support[present]).mean(axis=1)
    return mean


def _macro_f1(counts: _Counts, metrics_version: int) -> npt.NDArray[np.float64]:
    return macro_f1(counts.right, counts.support, counts.claimed, metrics_version)


def _statistics(metrics_version: int) -> Mapping[Statistic, Callable[[_Counts], npt.NDArray[np.float64]]]:
    return {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "macro_f1": partial(_macro_f1, metrics_version=metrics_version),
    }


def _interval(values: npt.NDArray[np.float64], confidence: float) -> Interval:
    """Return the middle `confidence` of the resamples, which follow the first value."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return Interval(float(low), float(high))

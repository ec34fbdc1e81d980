"""Shift between splits: class shares, sizes, and whether a classifier tells a split from train."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from trainables.data.check.finding import Finding, finding
from trainables.data.check.inspection import Inspected
from trainables.data.check.label_findings import out_of_fold
from trainables.data.check.near_groups import Features

# Of equal splits, one in a thousand is accused.
_CHANCE = 1e-3
# Differences below these do not matter, however sure they are.
_LEAST_SHARE, _LEAST_SIZE, _LEAST_AUC = 0.05, 0.2, 0.55
_LEAST_IMAGES = 30
_SHUFFLES = 19
_DIMENSIONS = 32
_MOST = 2_000


def shift_findings(images: Sequence[Inspected], features: Features | None = None) -> Iterator[Finding]:
    """Yield findings on val and test where they differ from train; `features` (n, d) are those of the images."""
    splits = np.array([image.entry.split or "" for image in images])
    for split in ("val", "test"):
        both = (splits == "train") | (splits == split)
        is_other = splits[both] == split
        if min(is_other.sum(), (~is_other).sum()) < _LEAST_IMAGES:
            continue
        own = [images[place] for place in np.flatnonzero(both).tolist()]
        labels = np.unique([image.entry.label for image in own], return_inverse=True)
        yield from class_shift(split, labels[0].tolist(), labels[1], is_other)
        yield from size_shift(split, own, is_other)
        if features is not None:
            yield from look_shift(split, features[both], labels[1], is_other)


def class_shift(
    split: str, names: Sequence[str], labels: npt.NDArray[np.int64], is_other: npt.NDArray[np.bool_]
) -> Iterator[Finding]:
    """Yield a finding where the shares of the classes differ beyond chance (chi-square), and by five points or more."""
    counts = np.array([np.bincount(labels[side], minlength=len(names)) for side in (~is_other, is_other)])
    train, other = counts / counts.sum(axis=1, keepdims=True)
    if np.abs(other - train).max() < _LEAST_SHARE:
        return
    from scipy.stats import chi2_contingency  # imported in half a second

    if chi2_contingency(counts).pvalue > _CHANCE:
        return
    most = int(np.abs(other - train).argmax())
    text = f"{other[most]:.1%} of {split} are {names[most]}, {train[most]:.1%} of train"
    yield finding("shift_classes", [split], text, float(np.abs(other - train).max()), about="splits")


def size_shift(split: str, images: Sequence[Inspected], is_other: npt.NDArray[np.bool_]) -> Iterator[Finding]:
    """Yield a finding where the sides of the images are distributed otherwise (Kolmogorov-Smirnov)."""
    facts = [image.facts for image in images if image.facts is not None]
    sides = np.array([(each.width * each.height) ** 0.5 for each in facts])
    if np.ptp(sides) == 0:
        return
    from scipy.stats import ks_2samp

    result = ks_2samp(sides[~is_other], sides[is_other])
    if result.pvalue < _CHANCE and result.statistic > _LEAST_SIZE:
        middle = [float(np.median(sides[side])) for side in (is_other, ~is_other)]
        text = f"the median side is {middle[0]:.0f} pixels in {split}, {middle[1]:.0f} in train"
        yield finding("shift_sizes", [split], text, float(result.statistic), about="splits")


def look_shift(
    split: str, features: Features, labels: npt.NDArray[np.int64], is_other: npt.NDArray[np.bool_]
) -> Iterator[Finding]:
    """Yield a finding where a classifier tells the images of the split from those of train, class by class.

    Its AUC, out of fold, must be above that of every shuffle of the splits within the classes.
    """
    chance = np.random.default_rng(0)
    rows = _projected(features, labels)
    if len(rows) > _MOST:
        kept = np.sort(chance.choice(len(rows), _MOST, replace=False))
        rows, labels, is_other = rows[kept], labels[kept], is_other[kept]
    found = _auc(rows, is_other)
    if found < _LEAST_AUC:
        return
    null = [_auc(rows, _shuffled(is_other, labels, chance)) for _ in range(_SHUFFLES)]
    if found > max(null):
        low, high = _interval(found, int(is_other.sum()), int((~is_other).sum()))
        text = f"AUC {found:.2f} ({low:.2f} to {high:.2f}) out of fold, at most {max(null):.2f} for shuffled splits"
        yield finding("shift_look", [split], text, found, about="splits")


def _projected(features: Features, labels: npt.NDArray[np.int64]) -> Features:
    """Return features without the means of their classes, in the directions of the largest variance."""
    rows = features.astype(np.float64)
    for label in np.unique(labels):
        rows[labels == label] -= rows[labels == label].mean(axis=0)
    _, vectors = np.linalg.eigh(rows.T @ rows)
    projected: Features = (rows @ vectors[:, -_DIMENSIONS:]).astype(np.float32)
    return projected


def _shuffled(
    values: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64], chance: np.random.Generator
) -> npt.NDArray[np.bool_]:
    shuffled = values.copy()
    for label in np.unique(labels):
        shuffled[labels == label] = chance.permutation(values[labels == label])
    return shuffled


def _auc(rows: Features, is_other: npt.NDArray[np.bool_]) -> float:
    from sklearn.metrics import roc_auc_score

    chances = out_of_fold(rows, is_other.astype(np.int64), np.arange(len(rows)))
    return float(roc_auc_score(is_other, chances[:, 1]))


def _interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """Return the 95 % interval of an AUC (Hanley & McNeil, 1982)."""
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (first - auc**2) + (negatives - 1) * (second - auc**2)
    half = 1.96 * (max(variance, 0.0) / (positives * negatives)) ** 0.5
    return max(0.0, auc - half), min(1.0, auc + half)

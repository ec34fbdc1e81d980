"""Calibration: by how much a model is too sure of itself, and what its probabilities say afterwards.

Temperature scaling (Guo et al., arXiv 1706.04599): all logits are divided by one number, fitted on the validation
split. No label changes.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch.nn.functional import log_softmax

from trainables.interval import Interval
from trainables.task.bootstrap import Labels, Logits
from trainables.task.classification_scores import calibration_gap, probabilities

# Temperatures tried; outside of them a model is of no use.
_BOUNDS = (0.05, 20.0)

_FOLDS = 5
_RESAMPLES = 500
_COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error, 0 to 1: see `calibration_error`."""

    value: float
    """On the images as they are."""

    interval: Interval
    """95 % interval of other images, from a bootstrap."""


@dataclass(frozen=True)
class Coverage:
    """Share of the images that remains when unsure answers are withheld (Geifman & El-Yaniv, 2017)."""

    min_confidence: float
    """Least probability of a given answer."""

    coverage: float
    """Share of the images that get an answer."""

    accuracy: float
    """Share of the answers that are right."""


@dataclass(frozen=True)
class Calibration:
    """The temperature of a model, and what it is worth; JSON-ready."""

    temperature: float
    """The logits are divided by it before the softmax; above 1 the model is too sure."""

    images: int
    """Images of the validation split, on which it was fitted."""

    before: CalibrationError
    """Error without a temperature."""

    after: CalibrationError
    """Error of each fifth of the images with the temperature of the others."""

    coverages: tuple[Coverage, ...]
    """From all images to half of them, with the temperature."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping of all fields."""
        return asdict(self)


def fit_calibration(logits: Logits, labels: Labels) -> Calibration:
    """Fit the temperature of (n, classes) logits to (n,) labels, n at least 1."""
    folds = np.random.default_rng(0).permutation(len(labels)) % _FOLDS
    held_out = np.array(logits, np.float64)
    for fold in range(_FOLDS):
        others = folds != fold
        if others.any():
            held_out[~others] /= fit_temperature(logits[others], labels[others])
    temperature = fit_temperature(logits, labels)
    return Calibration(
        temperature=temperature,
        images=len(labels),
        before=_error(np.asarray(logits, np.float64), labels),
        after=_error(held_out, labels),
        coverages=_coverages(np.asarray(logits, np.float64) / temperature, labels),
    )


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Return the temperature with the least cross-entropy of (n, classes) logits against (n,) labels.

    The labels are smoothed by 1 / (n + 2) (Platt, 1999): without it the best temperature of few images that are all
    right is 0, and every answer would be certain.
    """
    wide, targets = torch.from_numpy(np.asarray(logits, np.float64)), torch.from_numpy(np.asarray(labels, np.int64))
    smoothing = 1 / (len(labels) + 2)
    classes = wide.shape[1]

    def loss(logarithm: float) -> float:
        chances = log_softmax(wide / np.exp(logarithm), dim=1)
        own = chances.gather(1, targets[:, None])[:, 0]
        return float(-((1 - smoothing) * own + smoothing * (chances.sum(dim=1) - own) / max(1, classes - 1)).mean())

    found = minimize_scalar(loss, bounds=np.log(_BOUNDS), method="bounded")
    return float(np.exp(found.x))


def _error(logits: Logits, labels: Labels) -> CalibrationError:
    confidence, right = _answers(logits, labels)
    value = calibration_gap(confidence, right)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(_RESAMPLES):
        chosen = generator.integers(0, len(labels), len(labels))
        drawn.append(calibration_gap(confidence[chosen], right[chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    # Noise can only raise this error, so resamples lie too high: they are mirrored at the value (basic bootstrap).
    return CalibrationError(value, Interval(max(0.0, float(2 * value - high)), max(value, float(2 * value - low))))


def _coverages(logits: Logits, labels: Labels) -> tuple[Coverage, ...]:
    confidence, right = _answers(logits, labels)
    thresholds = [float(np.quantile(confidence, 1 - share, method="lower")) for share in _COVERAGES]
    kept = [confidence >= threshold for threshold in thresholds]
    rows = zip(thresholds, kept, strict=True)
    found = (Coverage(threshold, float(some.mean()), float(right[some].mean())) for threshold, some in rows)
    return tuple(dict.fromkeys(found))  # of few images, or equal probabilities, some are the same


def _answers(logits: Logits, labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the probability of each answer, and whether it is right."""
    chances = probabilities(logits)
    return chances.max(axis=1), chances.argmax(axis=1) == labels

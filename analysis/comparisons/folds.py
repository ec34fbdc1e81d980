"""Folds behind an objective: their number as a phrase, and the deviation between them."""

from collections.abc import Iterable
from statistics import stdev

from trainables.result import TrialResult


def folds_text(trials: Iterable[TrialResult]) -> str:
    """Return a phrase where the metrics of trials are means over folds; empty where no trial has folds."""
    numbers = sorted({folds for trial in trials if (folds := trial.config.data.folds_trained) is not None})
    return f"mean of {' or '.join(map(str, numbers))} folds" if numbers else ""


def kind_of_images(trial: TrialResult) -> str:
    """Return a word for the images on which a trial was measured."""
    return "validation" if trial.config.data.folds_trained is None else "out-of-fold"


def fold_deviation(trial: TrialResult, metric: str, epoch: int | None) -> float | None:
    """Return the standard deviation of a metric between the folds, at an epoch from 1; None where it is not known."""
    report = next((report for report in trial.reports if report.epoch == epoch), None)
    if report is None or report.folds is None or metric not in report.folds:
        return None
    return stdev(report.folds[metric])

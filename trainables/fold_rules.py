"""Rules of `data.folds`: settings with which one head per fold can be trained on the same features. Light."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trainables.fixed_views import fixed_views

if TYPE_CHECKING:
    from trainables.config import TrialConfig

_RULES: Mapping[str, tuple[Callable[[TrialConfig], bool], str]] = {
    "strategy": (
        lambda config: config.strategy == "head",
        "must be head: the folds share the features of a frozen backbone; choose head",
    ),
    "weights": (
        lambda config: config.weights != "none",
        "must be those of a trained backbone, whose features the folds share; choose pretrained or a file",
    ),
    "mixing": (
        lambda config: config.mixing == "none",
        "must be none: the features of blends cannot be computed once for all folds; choose none",
    ),
    "augmentation": (
        lambda config: config.augmentation == "none" or config.feature_views > 1,
        "must be none, or have a fixed number of views, whose features the folds share; set feature_views, e.g. 4",
    ),
    "random_erasing": (
        lambda config: not config.random_erasing or config.feature_views > 1,
        "must be 0, or have a fixed number of views, whose features the folds share; set feature_views, e.g. 4",
    ),
    "feature_views": (
        lambda config: fixed_views(config) > 0,
        "must be above 0: the features are computed once for all folds; set 1",
    ),
    "head_init": (
        lambda config: config.head_init == "random" or fixed_views(config) == 1,
        "must be random with several feature_views: the probe takes features of another kind; choose random",
    ),
    "normalization": (
        lambda config: config.normalization == "weights",
        "must be weights: the folds share features, and statistics of the data set would hold the images of every "
        "fold; choose weights",
    ),
    "teacher": (
        lambda config: config.teacher == "none",
        "must be none: a teacher may have learned from the images that a fold holds out; remove it",
    ),
    "precision": (
        lambda config: config.precision == "fp32",
        "must be fp32, in which heads are trained on features; choose fp32",
    ),
    "compile": (lambda config: not config.compile, "must be false: heads on features are not compiled; remove it"),
}

TIED_BY_FOLDS = ("mixing", "augmentation", "random_erasing", "feature_views")
"""Settings that a rule of `data.folds` ties to one another."""


def folds_refusal(config: TrialConfig) -> str | None:
    """Return the reason why a trial cannot be trained in folds, with its remedy; None where it can be."""
    for name, (is_met, rule) in _RULES.items():
        if not is_met(config):
            reason, remedy = rule.rsplit("; ", 1)
            return f"data.folds: {name} {reason}, got {getattr(config, name)}; {remedy}, or remove data.folds"
    return None

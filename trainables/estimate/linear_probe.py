"""A linear probe: how far the frozen features of an architecture go, in seconds where they are cached.

The probe is the head with which `head_init: probe` starts, measured before anything trains. A fine-tuning that ends
below it is worse than the frozen features. Trials that agree in its settings use the features that it has computed. It
ranks architectures, not strategies (frozen and fine-tuned accuracy go together: Kornblith et al., arXiv 1805.08974).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, load_arrays
from trainables.data.node_cache import NodeCache
from trainables.loop.folds.fold_heads import FoldHeads, open_fold_heads
from trainables.loop.folds.fold_measure import judged_parts, mean_metrics, measure_parts
from trainables.loop.learner import Learner
from trainables.task_catalog import METRICS_VERSION, unread_settings

_KEPT = (
    *("data", "task", "objective", "architecture", "weights", "weights_layout", "normalization", "seed"),
    *("precision", "channels_last", "feature_dtype", "balance", "class_weighting"),
)


@dataclass(frozen=True)
class Probe:
    """Result of a linear probe on the validation split."""

    objective: float
    """Its objective."""

    predictions: Mapping[str, Any]
    """The columns of its predictions by name, as the task has them."""


def probe_config(config: TrialConfig) -> TrialConfig:
    """Return the configuration of the linear probe of a trial: equal ones have the same probe."""
    kept = config.model_dump(include=set(_KEPT) - set(unread_settings(config.task)))
    if config.balance == "none":
        kept.pop("class_weighting", None)
    head = {"strategy": "head", "head_init": "probe", "epochs": 1, "lr": 1.0}  # nothing trains: no rate matters
    return TrialConfig.model_validate(kept | head)


def linear_probe(
    config: TrialConfig, cache: Path, cache_budget: int | None = None, metrics_version: int = METRICS_VERSION
) -> Probe:
    """Measure the linear probe of a trial; with folds, one per fold, on the images of that fold.

    `cache` is the node's, where the features are left for the trials; for `metrics_version` see `Task.measure`. Raises
    InvalidInput for data, weights or a head that cannot be used, OutOfMemory where not even one image fits.
    """
    arrays = load_arrays(config.data, cache, budget=cache_budget)
    return probe_arrays(config, arrays, NodeCache(cache, cache_budget), metrics_version)


def probe_arrays(
    config: TrialConfig, arrays: Arrays, cache: NodeCache, metrics_version: int = METRICS_VERSION
) -> Probe:
    """Measure the linear probe of a trial on images that are open; see `linear_probe`."""
    probe = probe_config(config)
    learner = _started(probe, arrays, cache)
    outputs, task = learner.validate(), learner.task
    measured = mean_metrics(measure_parts(task, judged_parts(task, arrays.dataset), outputs, metrics_version))
    objective = probe.objective.value({f"val/{name}": value for name, value in measured.items()})
    return Probe(objective, task.predictions(outputs, arrays.dataset, "val"))


def _started(probe: TrialConfig, arrays: Arrays, cache: NodeCache) -> Learner | FoldHeads:
    """Return a learner whose head is the linear probe."""
    if arrays.dataset.folds:
        heads = open_fold_heads(probe, arrays, cache)
        heads.start_head()
        return heads
    learner = Learner(probe, arrays, cache)
    learner.start_head()
    learner.phase.prepare(learner.optimizer, epoch=0)
    return learner

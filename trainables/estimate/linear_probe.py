"""A linear probe: how far the frozen features of an architecture go, in seconds where they are cached.

It is an ordinary `head` trial under one fixed recipe, so that its score is the objective that trials are ranked by, and
so that the features it computes are those that the trials find. A probe says nothing of what thawing would gain: it
ranks architectures, not strategies (frozen and fine-tuned accuracy go together: Kornblith et al., arXiv 1805.08974).
"""

import tempfile
from pathlib import Path
from typing import Any

from trainables.config import TrialConfig
from trainables.loop.train import train
from trainables.result import best_report
from trainables.storage.folders import TrialFolders

RECIPE: dict[str, Any] = {
    "strategy": "head",
    "epochs": 10,
    "batch_size": 32,
    "lr": 3e-3,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "scheduler": "cosine",
}
"""AdamW moves a fresh head by about its rate a step: 10 epochs at 3e-3 suffice, whatever the scale of the features."""

_KEPT = ("data", "task", "objective", "architecture", "weights", "normalization", "seed", "precision", "channels_last")


def linear_probe(config: TrialConfig, cache: Path, cache_budget: int | None = None) -> float:
    """Measure the best objective of a linear probe of the architecture and weights of `config`.

    `cache` is the node's, where the features are left for the trials. Raises what `train` raises.
    """
    values = config.model_dump(include=set(_KEPT)) | RECIPE
    recipe = TrialConfig.model_validate(values)
    with tempfile.TemporaryDirectory(prefix="thaw-probe-") as folder:
        root = Path(folder)
        folders = TrialFolders(root / "checkpoints", root / "predictions.parquet", cache, cache_budget)
        best = best_report(list(train(recipe, folders)), recipe.objective)
    assert best is not None  # a trial has at least one epoch
    return recipe.objective.value(best.metrics)

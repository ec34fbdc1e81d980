"""Space of the search benchmark: a grid of real trials, small enough to train every one of them once.

It was chosen before any searcher saw it, and so that thawing late can pay: a score falls when the backbone begins to
move, and rises again where the learning rate has not run out by then.
"""

from pathlib import Path
from typing import Any

from orchestrator.spec.sweep_spec import SweepSpec

TABLE = Path(__file__).with_name("search_table.json.gz")

EPOCHS = 9
"""So that a grace of 1 and a reduction of 3 give rungs at 1 and 3 epochs."""

LATE = 5
"""A last boundary here or later is a late thaw: more than half of the epochs are frozen, wholly or in part."""

# Learning rates by strategy, in steps of about half a decade: a fresh head learns fast, a backbone is moved gently.
RATES = {
    "head": (1e-3, 3e-3, 1e-2, 3e-2),
    "partial|progressive|gradual": (3e-4, 1e-3, 3e-3),
    "full": (1e-4, 3e-4, 1e-3, 3e-3),
}

CHOICES: dict[str, Any] = {
    "architecture": {"choice": ["tf_mobilenetv3_small_100", "mobilenetv2_100"]},
    "strategy": {"choice": ["head", "partial", "progressive", "gradual", "full"]},
    "trainable_stages": {"choice": [1, 3], "when": {"strategy": "partial"}},
    "unfreeze_epoch": {"choice": [2, 5], "when": {"strategy": "progressive"}},
    "last_stage_epoch": {"choice": [1, 2], "when": {"strategy": "gradual"}},
    "full_after": {"choice": [4], "when": {"strategy": "gradual"}},
    "balance": {"choice": ["none", "loss"]},
    "scheduler": {"choice": ["cosine", "plateau"]},
}

# What the searchers are compared by, named before any of them was run.
SEEDS = tuple(range(60))
"""Of the searchers; each seed is one sweep of each."""

MORE_SEEDS = tuple(range(3000, 3200))
"""Also named before anything was run on them, when the first had shown that sixty are too few for small differences.

2000 to 2299 were these at first, and showed that most of what TPE proposed late in a sweep was known already; they are
no measure of what was changed for it.
"""

TUNING_SEEDS = tuple(range(1000, 1040))
"""Whoever tunes a searcher looks at these."""

WORKERS = 4
"""Trials at once, all equally fast: an epoch lasts as long as its training FLOPs."""

BUDGETS = (5, 10, 20, 40)
"""Of a sweep, in training FLOPs; the unit is what a trial of the table takes on average when trained to its end."""

TRIALS = 400
"""More than any budget allows, unless a searcher asks for little but frozen heads, which cost next to nothing."""

METRIC = "best val/macro_f1 of the table minus the best of any epoch, of any trial, stopped or not, within the budget"
"""The regret, the same for all sides; lower is better."""

TRIAL: dict[str, Any] = {"epochs": EPOCHS, "weights": "pretrained", "batch_size": 32, "optimizer": "adamw", "seed": 42}


def sweep(data: dict[str, Any], *, gridded: bool = False, **sections: Any) -> SweepSpec:
    """The sweep over the space: of the grid itself, or with ranges of learning rates between the grid's ends."""
    rates = [
        {**({"choice": list(values)} if gridded else {"log": [values[0], values[-1]]}), "when": {"strategy": names}}
        for names, values in ((strategies.split("|"), values) for strategies, values in RATES.items())
    ]
    values = {"name": "search", "data": data, "trial": TRIAL, "space": {**CHOICES, "lr": rates}, **sections}
    return SweepSpec.model_validate(values)

"""Check of weights that are matched by order: they must give better features than random weights do."""

from pathlib import Path

import numpy as np

from search_spaces.errors import InvalidInput
from trainables.config import Objective, TrialConfig
from trainables.estimate.linear_probe import Probe, linear_probe
from trainables.model.weights import weights_path
from trainables.task.bootstrap import bootstrap_of_names, statistic_of
from trainables.task_catalog import unread_settings


def check_order(config: TrialConfig, cache: Path, cache_budget: int | None = None) -> None:
    """Raise InvalidInput where weights that are matched by order do not beat random ones on the data's linear probe.

    Layers of equal shapes may have changed places, which only the features show. Of a metric that has a bootstrap, the
    interval of the difference must lie above 0: a wrong match wins by chance as often as not. For `cache` see
    `linear_probe`; nothing is done for weights that are matched by name or come from no file.
    """
    if config.weights_layout == "by_name" or weights_path(config) is None:
        return
    if "head_init" in unread_settings(config.task):
        raise InvalidInput(
            f"weights_layout: by_order needs a task with a linear probe, which the task {config.task} lacks; convert "
            "the file to the keys of timm, and leave weights_layout out"
        )
    random = config.model_copy(update={"weights": "none", "weights_layout": "by_name"})
    ours, theirs = (linear_probe(each, cache, cache_budget) for each in (config, random))
    if not _beats(ours, theirs, config.objective):
        raise InvalidInput(
            "weights_layout: by_order needs weights that beat random ones on a linear probe, got "
            f"{config.objective.metric} {ours.objective:.4f} of {config.weights} and {theirs.objective:.4f} of random "
            f"weights for {config.architecture}: no gain beyond chance on these validation images; convert the file to "
            "the keys of timm, or set architecture to the one it was made for"
        )


def _beats(ours: Probe, theirs: Probe, objective: Objective) -> bool:
    statistic = statistic_of(objective.metric)
    if statistic is None or not {"label", "predicted"} <= ours.predictions.keys():
        return objective.better(ours.objective, theirs.objective)
    labels, a, b = (
        np.array(probe.predictions[name], dtype=str)
        for probe, name in ((ours, "label"), (ours, "predicted"), (theirs, "predicted"))
    )
    return bootstrap_of_names(labels, a, b, statistic).interval.low > 0

"""Scores of linear probes: how far the frozen features of each architecture go on a data set, with intervals."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search_spaces.errors import ThawError
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays
from trainables.data.node_cache import NodeCache
from trainables.estimate.linear_probe import probe_arrays
from trainables.estimate.weights_at_hand import without_hub
from trainables.interval import Interval
from trainables.task.bootstrap import intervals, paired_bootstrap
from trainables.task.classification_scores import metrics

PROBED = {"train": 4000, "val": 2000}
"""Images that a probe is fitted to and measured on, at most: seconds per architecture on a processor."""


@dataclass(frozen=True)
class ProbeScore:
    """Linear probe of an architecture, measured on the validation images."""

    architecture: str
    """Name of the timm model."""

    macro_f1: float
    """Macro-F1."""

    interval: Interval
    """95 % interval of the macro-F1 for other images."""

    accuracy: float
    """Accuracy."""

    images: int
    """Validation images that it was measured on."""

    seconds: float
    """Time that the probe took, features included where the cache did not have them."""

    is_level: bool
    """True for the best probe, and for each that the images cannot tell apart from it (95 %)."""


@dataclass(frozen=True)
class ProbeScores:
    """Probes of several architectures."""

    scores: tuple[ProbeScore, ...]
    """Best first."""

    faults: dict[str, str]
    """Reason for each architecture that could not be probed."""


def score_probes(
    configs: Sequence[TrialConfig], arrays: Arrays, cache: NodeCache, on_probe: Callable[[str], None] = lambda _: None
) -> ProbeScores:
    """Measure the linear probe of each of `configs`, one per architecture, on the images; nothing is downloaded.

    `on_probe` is called with each architecture before its probe begins.
    """
    outputs, seconds, faults = dict[str, npt.NDArray[np.float32]](), dict[str, float](), dict[str, str]()
    labels = arrays.dataset.labels("val")
    for config in configs:
        on_probe(config.architecture)
        begun = time.perf_counter()
        try:
            with without_hub():
                probe = probe_arrays(config, arrays, cache)
        except ThawError as error:  # the others are evidence all the same
            faults[config.architecture] = str(error)
            continue
        outputs[config.architecture] = one_hot(probe.predictions["predicted"], arrays.classes)
        seconds[config.architecture] = time.perf_counter() - begun
    measured = {name: metrics(found, labels) for name, found in outputs.items()}
    ranked = sorted(outputs, key=lambda name: -measured[name]["macro_f1"])
    scores = tuple(
        ProbeScore(
            architecture=name,
            macro_f1=measured[name]["macro_f1"],
            interval=intervals(outputs[name], labels).metrics["macro_f1"],
            accuracy=measured[name]["accuracy"],
            images=len(labels),
            seconds=seconds[name],
            is_level=paired_bootstrap(outputs[ranked[0]], outputs[name], labels).interval.low <= 0,
        )
        for name in ranked
    )
    return ProbeScores(scores, faults)


def one_hot(predicted: Sequence[str], classes: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the names of predicted classes as (n, classes): 1 for the one that is predicted, else 0."""
    found: npt.NDArray[np.float32] = np.equal.outer(np.array(predicted), np.array(classes)).astype(np.float32)
    return found

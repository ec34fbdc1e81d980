"""Baseline of a run: the best linear probe of its architectures, and whether the winner beats it.

A search whose winner does not beat a linear probe was of no use. The interval covers the choice of the validation
images. The winner was chosen on them, so its score there is too high.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.leaderboard import Leaderboard
from analysis.predictions import read_predictions
from analysis.run_folder import RunFolder, probe_id
from analysis.run_store import RunStore
from trainables.result import TrialResult
from trainables.task.bootstrap import STATISTICS, Difference, paired_bootstrap


@dataclass(frozen=True)
class Baseline:
    """The winner of a run beside the best linear probe."""

    winner: TrialResult
    """Best trial of the run."""

    architecture: str
    """Architecture of the probe, which need not be the winner's."""

    probe: float
    """Objective of the probe."""

    architectures: frozenset[str]
    """Architectures that have a probe."""

    images: int
    """Images of the validation split."""

    difference: Difference
    """The winner minus its probe, with the interval of other validation images."""

    @property
    def is_beaten(self) -> bool:
        """True where the interval lies above 0."""
        return self.difference.interval.low > 0


def baseline(run: RunFolder, board: Leaderboard) -> Baseline | None:
    """Compare the winner with the best probe of the run.

    Returns None without a probe, for a metric without a bootstrap, and where predictions are missing, unreadable or of
    other images: the end of a sweep does not depend on them. Raises InvalidInput when the run has no winner.
    """
    winner = board.winner()
    statistic = next((name for name in STATISTICS if f"val/{name}" == board.objective.metric), None)
    if not board.probes or statistic is None:
        return None
    probe, store = board.probes[0], RunStore(run)
    columns = []
    for name in (winner.trial_id, probe_id(probe.architecture)):
        found = _columns(store, name)
        if found is None:
            return None
        columns.append(found)
    (paths, labels, ours), (other_paths, other_labels, theirs) = columns
    if not np.array_equal(paths, other_paths) or not np.array_equal(labels, other_labels):
        return None
    classes = np.unique(np.concatenate([labels, ours, theirs]))
    a, b = (np.equal.outer(predicted, classes).astype(np.float32) for predicted in (ours, theirs))
    difference = paired_bootstrap(a, b, np.searchsorted(classes, labels), statistic)
    probed = frozenset(each.architecture for each in board.probes)
    return Baseline(winner, probe.architecture, probe.objective, probed, len(labels), difference)


def _columns(store: RunStore, name: str) -> list[np.ndarray[Any, Any]] | None:
    names = ("path", "label", "predicted")
    table = read_predictions(store, store.newest(lambda layer: layer.predictions(name)), names)
    return None if table is None else [np.array(table[column].to_pylist(), dtype=str) for column in names]

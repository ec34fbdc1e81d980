"""Baseline of a run: the best linear probe of its architectures, and whether the winner beats it.

A search whose winner does not beat a linear probe has cost its epochs for nothing. The interval is that of the
validation photos; the winner was chosen on them, so that it looks better there than it is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from analysis.ledger import Ledger
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

    photos: int
    """Photos of the validation split."""

    difference: Difference
    """The winner minus its probe, with the interval of other validation photos."""

    @property
    def is_beaten(self) -> bool:
        """Whether the interval lies above 0."""
        return self.difference.interval.low > 0


def baseline(run: RunFolder, winner: TrialResult) -> Baseline | None:
    """Compare the winner with the best probe of the run; None without a probe, or where no bootstrap can tell.

    Raises what reading the run raises.
    """
    record = Ledger(run).read_run()
    statistic = next((name for name in STATISTICS if f"val/{name}" == record.objective.metric), None)
    if not record.probe or winner.objective is None or statistic is None:
        return None
    architecture, probe = max(record.probe.items(), key=lambda item: record.objective.score(item[1]))
    store = RunStore(run)
    columns = []
    for name in (winner.trial_id, probe_id(architecture)):
        place = store.newest(lambda layer, name=name: layer.predictions(name))  # type: ignore[misc]
        with store.reading(place) as path:
            if not path.is_file():
                return None
            columns.append(_columns(path))
    (paths, labels, ours), (other_paths, other_labels, theirs) = columns
    if not np.array_equal(paths, other_paths) or not np.array_equal(labels, other_labels):
        return None
    classes = np.unique(np.concatenate([labels, ours, theirs]))
    a, b = (np.equal.outer(predicted, classes).astype(np.float32) for predicted in (ours, theirs))
    difference = paired_bootstrap(a, b, np.searchsorted(classes, labels), statistic)
    return Baseline(winner, architecture, probe, len(labels), difference)


def _columns(path: Path) -> list[np.ndarray[Any, Any]]:
    table = pq.read_table(path, columns=["path", "label", "predicted"])
    return [np.array(table[name].to_pylist(), dtype=str) for name in table.column_names]

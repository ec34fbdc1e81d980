"""SweepSummary: the state of a whole sweep, as trackers publish it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from analysis.leaderboard import Entry, Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from analysis.winner import exported_model, retrain_record
from trainables.status import Status
from trainables.storage.place import Place

_COLUMNS = ("rank", "trial_id", "status", "objective", "epoch", "epochs", "seconds")


@dataclass(frozen=True)
class SweepSummary:
    """SweepSummary: leaderboard of a sweep, test metrics of its winner, and the path of its exported model."""

    sweep: str
    """Name of the sweep."""

    folder: Path
    """Folder of the run on this machine, for files of the tracker."""

    leaderboard: Leaderboard
    """All trials, best first."""

    test: Mapping[str, float] = field(default_factory=dict)
    """Metrics of the retrained winner on the test split; empty before `thaw retrain`."""

    model: Place | None = None
    """ONNX model, beside the other files of its bundle; None before `thaw export`."""

    uid: str | None = None
    """Random identifier of the run; None for a run of an older version."""

    @classmethod
    def from_run(cls, run: RunFolder) -> Self:
        """Read the summary of a run. Raises InvalidInput when a record cannot be used."""
        found = Ledger(run).read_run()
        summary = cls(found.name, run.local, Leaderboard.from_run(run), uid=found.uid)
        record = None if summary.best is None else retrain_record(run, summary.best.trial)
        test = {} if record is None else record.get("test", {}).get("metrics", {})
        return replace(summary, test=test, model=exported_model(run))

    @property
    def best(self) -> Entry | None:
        """Best completed trial."""
        return next((entry for entry in self.leaderboard.entries if entry.rank == 1), None)

    def values(self) -> dict[str, float | str]:
        """Return the summary as flat names; a value that is not known is absent."""
        counts = Counter(entry.trial.status for entry in self.leaderboard.entries)
        values: dict[str, float | str] = {
            "objective": self.leaderboard.objective.metric,
            **{f"trials/{status}": counts[status] for status in Status},
            "cost/seconds": sum(entry.trial.seconds for entry in self.leaderboard.entries),
            **{f"probe/{probe.architecture}": probe.objective for probe in self.leaderboard.probes},
            **{f"test/{name}": value for name, value in self.test.items()},
        }
        if self.best is not None and self.best.trial.best is not None:
            values |= {"best/trial": self.best.trial.trial_id, "best/epoch": self.best.trial.best.epoch}
            values |= {f"best/{name}": value for name, value in self.best.trial.best.metrics.items()}
        if self.model is not None:
            values["export/model"] = str(self.model)
        return values

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the leaderboard as columns and rows, one column per parameter; None where a value does not apply."""
        entries = [entry.to_json() for entry in self.leaderboard.entries]
        parameters = sorted({name for entry in entries for name in entry["parameters"]})
        rows = [
            [entry[name] for name in _COLUMNS] + [entry["parameters"].get(name) for name in parameters]
            for entry in entries
        ]
        return [*_COLUMNS, *parameters], rows

"""SweepSummary: the state of a whole sweep, as trackers publish it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from analysis.comparisons.confirmation import Confirmation, read_confirmation
from analysis.leaderboard import Entry, Leaderboard
from analysis.ledger import Ledger, RunRecord, by_id
from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from analysis.winner import exported_model, exported_trial, retrain_record, run_winner
from orchestrator.tracking.sweep_identity import SweepIdentity
from trainables.data.summary.class_counts import imbalance_ratio
from trainables.result import TrialResult
from trainables.status import Status
from trainables.storage.place import Place

_COLUMNS = ("rank", "trial_id", "status", "objective", "epoch", "epochs", "seconds")


@dataclass(frozen=True)
class TrialFiles:
    """TrialFiles: what a trial leaves of its best epoch. Before the first epoch has ended there is nothing."""

    predictions: Place
    """File with the predictions on the validation split."""

    checkpoint: Place
    """Folder with the weights."""

    @classmethod
    def newest(cls, run: RunFolder, trial_id: str) -> Self:
        """Return the files of a trial, whichever driver of the run has left them."""
        store = RunStore(run)
        predictions = store.newest(lambda layer: layer.predictions(trial_id))
        return cls(predictions, store.newest(lambda layer: layer.best(trial_id)))


@dataclass(frozen=True)
class SweepSummary:
    """SweepSummary: leaderboard of a sweep, test metrics of its winner, and the path of its exported model."""

    sweep: SweepIdentity
    """Sweep that is summed up."""

    run: RunFolder
    """Run of the sweep; its local folder is for files of the tracker."""

    leaderboard: Leaderboard
    """All trials, best first."""

    test: Mapping[str, float] = field(default_factory=dict)
    """Metrics of the retrained winner on the test split; empty before `thaw retrain`."""

    model: Place | None = None
    """ONNX model, beside the other files of its bundle; None before `thaw export`."""

    exported: str | None = None
    """Id of the trial whose model that is."""

    record: RunRecord | None = None
    """Facts that all trials share: the search space, the images of each class."""

    files: TrialFiles | None = None
    """Files of the winner; None without one."""

    winner: TrialResult | None = None
    """Trial that the run recommends: the best finalist where they are confirmed, else the best trial."""

    confirmation: Confirmation | None = None
    """Finalists that were trained again; None before `thaw confirm`."""

    @classmethod
    def from_run(cls, run: RunFolder) -> Self:
        """Read the summary of a run. Raises InvalidInput when a record cannot be used."""
        found = Ledger(run).read_run()
        summary = cls(SweepIdentity.of(run), run, Leaderboard.from_run(run), record=found)
        if summary.best is None:
            return summary
        winner = run_winner(run)
        record = retrain_record(run, winner)
        test = {} if record is None else (record.get("test") or {}).get("metrics", {})
        files = TrialFiles.newest(run, winner.trial_id)
        return replace(
            summary,
            winner=winner,
            test=test,
            model=exported_model(run),
            exported=exported_trial(run),
            files=files,
            confirmation=read_confirmation(run),
        )

    @property
    def folder(self) -> Path:
        """Folder of the run on this machine."""
        return self.run.local

    @property
    def space(self) -> Mapping[str, Any]:
        """Search space as written in the sweep file; empty without a record."""
        return {} if self.record is None else self.record.space

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
            **self._data(),
            "cost/seconds": sum(entry.trial.seconds for entry in self.leaderboard.entries),
            **{f"probe/{probe.architecture}": probe.objective for probe in self.leaderboard.probes},
            **{f"test/{name}": value for name, value in self.test.items()},
        }
        if self.best is not None and self.best.trial.best is not None:
            values |= {"best/trial": self.best.trial.trial_id, "best/epoch": self.best.trial.best.epoch}
            values |= {f"best/{name}": value for name, value in self.best.trial.best.metrics.items()}
        if self.confirmation is not None and self.confirmation.finalists:
            best = self.confirmation.finalists[0]
            values |= {"confirm/trial": best.trial_id, "confirm/mean": best.mean, "confirm/seeds": len(best.values)}
            values |= {"confirm/is_best": "yes" if self.confirmation.winner is not None else "not told apart"}
        if self.model is not None:
            # Below the run, which may be moved and copied.
            values["export/model"] = f"{self.model.parent.name}/{self.model.name}"
        return values

    def _data(self) -> dict[str, float | str]:
        """Return the number of images by split, of classes, the ratio of the largest to the smallest, and remarks."""
        if self.record is None:
            return {}
        remarks: dict[str, float | str] = {}
        if self.record.data_remarks:
            remarks["data/remarks"] = "; ".join(self.record.data_remarks)
        if not (counts := self.record.class_counts):  # a run of an older version
            return remarks
        images = {f"data/{split}": sum(own) for split, own in counts.items()}
        train = counts["train"]
        return {**images, **remarks, "data/classes": len(train), "data/imbalance_ratio": imbalance_ratio(train)}

    def progress(self) -> tuple[list[str], list[list[Any]]]:
        """Return the course of the search as columns and rows: each trial in order, and the best value up to it."""
        rows: list[list[Any]] = []
        best: float | None = None
        for entry in sorted(self.leaderboard.entries, key=lambda entry: by_id(entry.trial.trial_id)):
            if entry.trial.status is Status.COMPLETED and entry.objective is not None:
                better = best is None or self.leaderboard.objective.better(entry.objective, best)
                best = entry.objective if better else best
            rows.append([int(entry.trial.trial_id), entry.trial.status.value, entry.objective, best])
        return ["trial", "status", "objective", "best so far"], rows

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the leaderboard as columns and rows, one column per parameter; None where a value does not apply."""
        entries = [entry.to_json() for entry in self.leaderboard.entries]
        parameters = sorted({name for entry in entries for name in entry["parameters"]})
        rows = [
            [entry[name] for name in _COLUMNS] + [entry["parameters"].get(name) for name in parameters]
            for entry in entries
        ]
        return [*_COLUMNS, *parameters], rows

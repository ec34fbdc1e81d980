"""Leaderboard of a run: its trials, best first. Light to import: no torch, no pandas."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from pydantic_core import to_jsonable_python

from analysis.ledger import Ledger, by_id
from analysis.run_folder import RunFolder, open_run, probe_id
from analysis.run_store import write_atomically
from search_spaces.errors import InvalidInput
from trainables.config import Objective
from trainables.result import EpochReport, TrialResult, best_report
from trainables.status import Status
from trainables.storage.place import Place, as_place

# Order of the groups of trials. Statuses of one group are equal.
_GROUPS = {
    Status.COMPLETED: 0,
    Status.PRUNED: 1,
    Status.RUNNING: 2,
    Status.INTERRUPTED: 2,
    Status.PRUNED_OOM: 3,
    Status.TIMED_OUT: 3,
    Status.FAILED: 3,
}

_CSV_FIELDS = ["rank", "trial_id", "status", "objective", "epoch", "epochs", "seconds", "probe", "failure"]
_JSON_FIELDS = [*_CSV_FIELDS[:-1], "parameters", "config", "failure"]

PROBE = "PROBE"
"""Stands in place of a status in the row of a linear probe."""


@dataclass(frozen=True)
class Entry:
    """Entry: place of one trial on the leaderboard."""

    rank: int | None
    """Rank from 1; None unless the trial is COMPLETED."""

    objective: float | None
    """Objective at the best epoch; None before the first epoch has ended."""

    epoch: int | None
    """Best epoch, from 1; its checkpoint is kept."""

    trial: TrialResult
    """Trial of this entry."""

    probe: float | None = None
    """Objective of a linear probe of the trial's architecture; None without a probe."""

    def to_json(self) -> dict[str, Any]:
        """Return the entry as every `--format json` prints it."""
        return {
            "rank": self.rank,
            "trial_id": self.trial.trial_id,
            "status": self.trial.status.value,
            "objective": self.objective,
            "epoch": self.epoch,
            "epochs": len(self.trial.reports),
            "seconds": self.trial.seconds,
            "probe": self.probe,
            "parameters": to_jsonable_python(self.trial.parameters),
            "config": self.trial.config.to_json(),
            "failure": None if self.trial.failure is None else self.trial.failure.message,
        }


@dataclass(frozen=True)
class ProbeEntry:
    """ProbeEntry: row of a linear probe, which is compared with the trials and never ranked among them."""

    architecture: str
    """Architecture whose frozen features are probed."""

    objective: float
    """Objective of the probe."""

    def to_json(self) -> dict[str, Any]:
        """Return the row with the fields of an entry."""
        own = {"trial_id": probe_id(self.architecture), "status": PROBE, "objective": self.objective}
        empty = dict.fromkeys(("rank", "epoch", "epochs", "seconds", "probe", "failure"))
        parameters = {"architecture": self.architecture}
        values = {**empty, **own, "parameters": parameters, "config": parameters}
        return {name: values[name] for name in _JSON_FIELDS}


@dataclass(frozen=True)
class Leaderboard:
    """Leaderboard: the trials of a run, best first.

    COMPLETED trials are ranked by the objective of their best epoch. Equal ones are ordered by trial id, the earlier
    first. The unranked trials follow: first those that ASHA stopped, then the unfinished, then the failed. Each group
    is ordered by objective.
    """

    objective: Objective
    """Objective that ranks the trials."""

    entries: tuple[Entry, ...]
    """One entry per trial."""

    source: str = "the run"
    """Name of the run in messages."""

    probes: tuple[ProbeEntry, ...] = ()
    """Linear probe of each architecture, best first, where the run has them."""

    problems: tuple[str, ...] = ()
    """Files of the run that could not be used, one sentence each; their trials are missing here."""

    @classmethod
    def from_run(cls, run: RunFolder | Place | str) -> Self:
        """Read the leaderboard of a run. Raises InvalidInput when there is no run or a record cannot be used."""
        folder = run if isinstance(run, RunFolder) else open_run(as_place(run))
        ledger = Ledger(folder)
        record = ledger.read_run()
        board = cls.from_trials(record.objective, ledger.trials(), source=str(folder.root))
        probed = [replace(entry, probe=record.probe.get(entry.trial.config.architecture)) for entry in board.entries]
        probes = sorted(record.probe.items(), key=lambda item: -record.objective.score(item[1]))
        rows = tuple(ProbeEntry(name, value) for name, value in probes)
        return replace(board, entries=tuple(probed), probes=rows, problems=ledger.problems)

    @classmethod
    def from_trials(cls, objective: Objective, trials: Iterable[TrialResult], *, source: str = "the run") -> Self:
        """Rank `trials` by `objective`, also where their own configurations watched another one."""
        return cls(objective, rank(objective, trials), source)

    def without_driver(self) -> Self:
        """Return the leaderboard as it is while no process drives the run: a trial that was RUNNING is INTERRUPTED."""
        return replace(self, entries=rank(self.objective, (entry.trial.without_driver() for entry in self.entries)))

    def winner(self) -> TrialResult:
        """Return the best COMPLETED trial. Raises InvalidInput with the counts by status when there is none."""
        if self.entries and self.entries[0].rank == 1:
            return self.entries[0].trial
        counts = Counter(entry.trial.status for entry in self.entries)
        found = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no trials"
        raise InvalidInput(f"no trial of {self.source} is COMPLETED, got {found}; {_remedy(counts)}")

    def to_json(self) -> list[dict[str, Any]]:
        """Return one mapping per entry, best first, then one per probe; ready for `json.dumps`."""
        return [*(entry.to_json() for entry in self.entries), *(probe.to_json() for probe in self.probes)]

    def write_csv(self, path: Place) -> None:
        """Replace the file `path` by a table: one row per entry, one column `parameters.<name>` per parameter.

        Raises StorageFailed when it cannot be written.
        """
        rows = [_row(values) for values in self.to_json()]
        parameters = dict.fromkeys([*_parameter_names(self.entries), *(["architecture"] if self.probes else [])])
        names = _CSV_FIELDS + [f"parameters.{name}" for name in parameters]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(path, text.getvalue())


def rank(objective: Objective, trials: Iterable[TrialResult]) -> tuple[Entry, ...]:
    """Return the entries of `trials`, best first."""
    judged = [(trial, _best_epoch(objective, trial)) for trial in trials]
    judged.sort(key=lambda pair: _place(objective, *pair))
    entries = []
    for place, (trial, best) in enumerate(judged, start=1):
        value = None if best is None else objective.value(best.metrics)
        ranked = trial.status is Status.COMPLETED and value is not None
        entries.append(Entry(place if ranked else None, value, None if best is None else best.epoch, trial))
    return tuple(entries)


def columns(entries: Iterable[Entry]) -> list[str]:
    """Return the names of the parameters that differ among `entries`, in order of first appearance.

    A parameter that only some entries have differs.
    """
    listed = list(entries)
    return [name for name in _parameter_names(listed) if len({_spelled(entry, name) for entry in listed}) > 1]


def _best_epoch(objective: Objective, trial: TrialResult) -> EpochReport | None:
    """Return the trial's best epoch by the run's objective, which an older record may lack."""
    return best_report([report for report in trial.reports if objective.metric in report.metrics], objective)


def _place(
    objective: Objective, trial: TrialResult, best: EpochReport | None
) -> tuple[int, bool, float, tuple[int, str]]:
    value = 0.0 if best is None else objective.value(best.metrics)
    return (
        _GROUPS[trial.status],
        best is None,
        -objective.score(value),
        by_id(trial.trial_id),
    )


def _remedy(counts: Counter[Status]) -> str:
    if not counts:
        return "launch the sweep, or wait for its first trial"
    if any(status.unfinished for status in counts):
        return "wait for a trial to complete, or resume the sweep"
    return "the leaderboard's `failure` and the trials' logs say why; mend the cause, then extend the sweep"


def _row(values: dict[str, Any]) -> dict[str, Any]:
    # Prefixed, because `epochs` may also be a parameter of the space.
    parameters = {f"parameters.{name}": _cell(value) for name, value in values["parameters"].items()}
    return {name: values[name] for name in _CSV_FIELDS} | parameters


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _parameter_names(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in entry.trial.parameters))


def _spelled(entry: Entry, name: str) -> str | None:
    """Return a parameter's value in a form that can be compared; None where the trial has none."""
    parameters = entry.trial.parameters
    return json.dumps(to_jsonable_python(parameters[name]), sort_keys=True) if name in parameters else None

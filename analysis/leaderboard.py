"""Leaderboard of a run: its trials, best first. Light to import: no torch, no pandas."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from pydantic_core import to_jsonable_python

from analysis.condensed_trial import EpochTotals, epoch_totals
from analysis.ledger import Ledger, by_id
from analysis.run_folder import RunFolder, open_run, probe_id
from analysis.run_store import write_atomically
from analysis.text_tables import csv_table, markdown_table
from search_spaces.errors import InvalidInput, ThawError
from trainables.config import Objective, TrialConfig
from trainables.data.content_remarks import skipped_remark
from trainables.data_config import DataConfig
from trainables.nested_settings import flat_settings, shared_settings
from trainables.result import TrialResult
from trainables.status import Status
from trainables.storage.place import Place, as_place
from trainables.task_catalog import METRICS_VERSION, is_same_metric

if TYPE_CHECKING:
    from pandas import DataFrame

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

_SIZES = ("total_parameters", "trainable_parameters")
_CSV_FIELDS = ["rank", "trial_id", "status", "objective", "epoch", "epochs", "seconds", *_SIZES, "probe", "failure"]
_JSON_FIELDS = [*_CSV_FIELDS[:-1], "skipped_images", "parameters", "config", "failure"]

COLUMNS = ("run", "rank", "trial_id", "status", "objective", "epoch", "epochs", "seconds", *_SIZES, "probe")
"""Columns of a row that are no settings and no metrics."""

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
    """Trial of this entry, perhaps condensed."""

    totals: EpochTotals
    """Totals of its epochs, by the objective that ranks it."""

    probe: float | None = None
    """Objective of a linear probe of the trial's architecture; None without a probe."""

    run: str | None = None
    """Run of the trial, where several runs are ranked together."""

    skipped_images: int | None = None
    """Images of the data set that were left out as they cannot be decoded; None where it is not known."""

    @property
    def total_parameters(self) -> int | None:
        """Parameters of the model; None where the record does not say."""
        return self.totals.total_parameters

    @property
    def trainable_parameters(self) -> int | None:
        """Parameters that were trained, at most at once; None where the record does not say."""
        return self.totals.trainable_parameters

    def row(self) -> dict[str, Any]:
        """Return what the trial has to show, under one name each; what it lacks is absent.

        Settings have the names of the sweep file (`lr`, `data.image_size`), metrics are those of the best epoch
        (`val/accuracy`), the columns of the leaderboard have their own. A setting that is called as a column is
        (`epochs`) is found as `parameters.epochs`.
        """
        row = self.trial.config.flat()
        for name, value in to_jsonable_python(self.trial.parameters).items():
            row |= {name: value, f"parameters.{name}": value} if name in COLUMNS else {name: value}
        row |= self.totals.metrics
        columns = self.to_json()
        return row | {name: columns[name] for name in COLUMNS if columns.get(name) is not None}

    def to_json(self) -> dict[str, Any]:
        """Return the entry as every `--format json` prints it."""
        return {
            **({} if self.run is None else {"run": self.run}),
            "rank": self.rank,
            "trial_id": self.trial.trial_id,
            "status": self.trial.status.value,
            "objective": self.objective,
            "epoch": self.epoch,
            "epochs": self.totals.epochs,
            "seconds": self.totals.seconds,
            "total_parameters": self.total_parameters,
            "trainable_parameters": self.trainable_parameters,
            "probe": self.probe,
            "skipped_images": self.skipped_images,
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
        empty = dict.fromkeys(("rank", "epoch", "epochs", "seconds", *_SIZES, "probe", "skipped_images", "failure"))
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
    """Sentences on files that could not be used, runs that do not compare, images left out, equal or alike."""

    fingerprint: str | None = None
    """Fingerprint of the data; None where it is not known."""

    metrics_version: int = METRICS_VERSION
    """Version of the definitions of the metrics."""

    @classmethod
    def from_run(cls, run: RunFolder | Place | str) -> Self:
        """Read the leaderboard of a run. Raises InvalidInput when there is no run or a record cannot be used."""
        return cls.from_ledger(Ledger(run if isinstance(run, RunFolder) else open_run(as_place(run))))

    @classmethod
    def from_ledger(cls, ledger: Ledger) -> Self:
        """Read the leaderboard of a ledger's run. Raises InvalidInput as `from_run` does."""
        record = ledger.read_run()
        board = cls.from_trials(record.objective, ledger.trials(), source=str(ledger.run.root))
        skipped = sum(map(len, record.skipped_images.values()))
        probed = [
            replace(entry, probe=record.probe.get(entry.trial.config.architecture), skipped_images=skipped)
            for entry in board.entries
        ]
        probes = sorted(record.probe.items(), key=lambda item: -record.objective.score(item[1]))
        rows = tuple(ProbeEntry(name, value) for name, value in probes)
        remark = skipped_remark(record.skipped_images)
        left_out = () if remark is None else (f"{ledger.run.root}: {remark}; run.json names them",)
        problems = (*ledger.problems, *left_out, *(f"{ledger.run.root}: {each}" for each in record.data_remarks))
        board = replace(board, entries=tuple(probed), probes=rows, problems=problems)
        return replace(board, fingerprint=record.fingerprint, metrics_version=record.metrics_version)

    @classmethod
    def from_trials(cls, objective: Objective, trials: Iterable[TrialResult], *, source: str = "the run") -> Self:
        """Rank `trials` by `objective`, also where their own configurations watched another one."""
        return cls(objective, rank(objective, trials), source)

    @classmethod
    def joined(cls, boards: Sequence[Self]) -> Self:
        """Rank the trials of several runs together, by the objective of the first; one run is returned as it is.

        Raises InvalidInput where one is given twice, also by two paths.
        """
        first, *others = boards
        if not others:
            return first
        known: dict[str, str] = {}
        for source in (board.source for board in boards):
            place = os.path.realpath(source)
            if place in known:
                raise InvalidInput(f"{source}: must be given once, got {known[place]} too; leave one of them out")
            known[place] = source
        names = short_names([board.source for board in boards])
        listed = [
            replace(entry, run=name, probe=old.probe, skipped_images=old.skipped_images)
            for name, board in zip(names, boards, strict=True)
            for old in board.entries
            for entry in [_entry(first.objective, old.trial)]
        ]
        problems = [problem for board in boards for problem in board.problems]
        for board in others:
            problems += _obstacles(first, board)
        return cls(first.objective, _ranked(first.objective, listed), first.source, (), tuple(problems))

    def without_driver(self) -> Self:
        """Return the leaderboard as it is while no process drives the run: a trial that was RUNNING is INTERRUPTED."""
        entries = (replace(entry, trial=entry.trial.without_driver()) for entry in self.entries)
        return replace(self, entries=_ranked(self.objective, entries))

    @property
    def frame(self) -> "DataFrame":
        """Table for notebooks: a row per trial, best first, with the columns of `Entry.row`; a gap is NaN or None.

        Raises ThawError without pandas, which comes with thaw[report].
        """
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise ThawError("Leaderboard.frame: needs pandas, which is not installed; install thaw[report]") from None
        rows = [entry.row() for entry in self.entries]
        names = dict.fromkeys([*(name for name in COLUMNS if name != "run"), *(name for row in rows for name in row)])
        return pd.DataFrame(rows, columns=[*names])

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
        """Replace the file `path` by the table of `to_csv`. Raises StorageFailed when it cannot be written."""
        write_atomically(path, self.to_csv())

    def to_csv(self) -> str:
        """Return a table in CSV: one row per entry, one column `parameters.<name>` per parameter."""
        rows = [_row(values) for values in self.to_json()]
        parameters = dict.fromkeys([*_parameter_names(self.entries), *(["architecture"] if self.probes else [])])
        fields = ["run"] * any(entry.run is not None for entry in self.entries) + _CSV_FIELDS
        names = fields + [f"parameters.{name}" for name in parameters]
        return csv_table(names, rows)

    def to_markdown(self) -> str:
        """Return a table as the terminal shows it: the settings that differ have a column each."""
        differing, entries = columns(self.entries), self.entries
        has_run, has_failed = (
            any(value is not None for value in values)
            for values in ([entry.run for entry in entries], [entry.trial.failure for entry in entries])
        )
        names = ["run"] * has_run + ["rank", "trial", "status", self.objective.metric, "epoch", "seconds"]
        rows = []
        for entry in entries:
            trial, failure = entry.trial, entry.trial.failure
            seconds = round(entry.totals.seconds, 1)
            row = [entry.run] * has_run + [entry.rank, trial.trial_id, trial.status.value, entry.objective, entry.epoch]
            own = [trial.parameters.get(name) for name in differing]
            rows.append([*row, seconds, *own, *([None if failure is None else failure.message] * has_failed)])
        return markdown_table([*names, *differing, *["failure"] * has_failed], rows)


def rank(objective: Objective, trials: Iterable[TrialResult]) -> tuple[Entry, ...]:
    """Return the entries of `trials`, best first."""
    return _ranked(objective, (_entry(objective, trial) for trial in trials))


def _entry(objective: Objective, trial: TrialResult) -> Entry:
    totals = epoch_totals(objective, trial)
    value = None if totals.best is None else objective.value(totals.metrics)
    return Entry(None, value, totals.best, trial, totals)


def _ranked(objective: Objective, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    ordered = sorted(entries, key=lambda entry: _place(objective, entry))
    return tuple(
        replace(entry, rank=place if entry.trial.status is Status.COMPLETED and entry.epoch is not None else None)
        for place, entry in enumerate(ordered, start=1)
    )


def short_names(sources: Sequence[str]) -> list[str]:
    """Return the last part of each path, or the whole paths where two of these parts are equal."""
    last = [source.rstrip("/").rpartition("/")[2] for source in sources]
    return last if len(set(last)) == len(last) else list(sources)


def _obstacles(first: Leaderboard, other: Leaderboard) -> list[str]:
    """Return the reasons why the values of two runs do not compare."""
    reasons = []
    if None not in (first.fingerprint, other.fingerprint) and first.fingerprint != other.fingerprint:
        reasons.append(f"{other.source}: has other data than {first.source}; values of the two do not compare")
    if other.objective != first.objective:
        wanted = f"{first.objective.metric} ({first.objective.mode})"
        own = f"{other.objective.metric} ({other.objective.mode})"
        reasons.append(f"{other.source}: was searched for {own}, and is ranked here by {wanted}, as {first.source} is")
    versions = first.metrics_version, other.metrics_version
    if not is_same_metric(first.objective.metric, *versions, lacks_classes=True):
        reasons.append(
            f"{other.source}: counts a class without images differently than {first.source} in "
            f"{first.objective.metric}; values of the two compare only where val has every class"
        )
    return reasons


def columns(entries: Iterable[Entry]) -> list[str]:
    """Return the names of the parameters that differ among `entries`, in order of first appearance.

    A parameter that only some entries have differs.
    """
    listed = list(entries)
    names = _parameter_names(listed)
    return [name for name in names if any(a != b for a, b in pairwise(_spelled(entry, name) for entry in listed))]


def constants(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return the settings that all entries share, without those that have their default; none without entries."""
    configs = [entry.trial.config for entry in entries]
    if not configs:
        return {}
    first, shared = vars(configs[0]), configs[0].to_json()
    for own, config in zip(map(vars, configs), configs, strict=True):
        # Most trials differ only in what is no longer shared, and need no JSON.
        if any(own[name] is not first[name] and own[name] != first[name] for name in shared):
            shared = shared_settings([shared, config.to_json()])
    usual = _defaults(configs[0])
    return {name: value for name, value in flat_settings(shared).items() if name not in usual or usual[name] != value}


def _defaults(config: TrialConfig) -> dict[str, Any]:
    sections = (("", TrialConfig), ("data.", DataConfig), ("objective.", Objective))
    values = {
        f"{prefix}{name}": [*field.default] if isinstance(field.default, tuple) else field.default
        for prefix, model in sections
        for name, field in model.model_fields.items()
        if not field.is_required()
    }
    return values | {"objective.mode": Objective(metric=config.objective.metric).mode}


def _place(objective: Objective, entry: Entry) -> tuple[int, bool, float, tuple[int, str]]:
    value = 0.0 if entry.objective is None else entry.objective
    return _GROUPS[entry.trial.status], entry.objective is None, -objective.score(value), by_id(entry.trial.trial_id)


def _remedy(counts: Counter[Status]) -> str:
    if not counts:
        return "launch the sweep, or wait for its first trial"
    if any(status.unfinished for status in counts):
        return "wait for a trial to complete, or resume the sweep"
    return "the leaderboard's `failure` and the trials' logs say why; fix the cause, then extend the sweep"


def _row(values: dict[str, Any]) -> dict[str, Any]:
    # Prefixed, because `epochs` may also be a parameter of the space.
    parameters = {f"parameters.{name}": _cell(value) for name, value in values["parameters"].items()}
    return {name: values[name] for name in ("run", *_CSV_FIELDS) if name in values} | parameters


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _parameter_names(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in entry.trial.parameters))


def _spelled(entry: Entry, name: str) -> str | None:
    """Return a parameter's value in a form that can be compared; None where the trial has none."""
    parameters = entry.trial.parameters
    return json.dumps(to_jsonable_python(parameters[name]), sort_keys=True) if name in parameters else None

"""Selection of trials: those of a leaderboard that are shown, in their order, and those that a user names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.conditions import parse_condition
from analysis.leaderboard import COLUMNS, Entry, Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput, closest, shown
from trainables.result import TrialResult
from trainables.status import Status


@dataclass(frozen=True)
class Selection:
    """Selection: what a user wants to see of a leaderboard; by default all of it, as it stands."""

    where: str | None = None
    """Condition on the names of a row, see `analysis.conditions`."""

    best_per: str | None = None
    """Name of which each value is shown once, with its best trial."""

    sort: str | None = None
    """Name by whose value the rows are ordered, the smallest first; rows without a value are last."""

    is_reversed: bool = False
    """Show the last row of the order first; rows without a value stay last."""

    top: int | None = None
    """Number of rows, from the first."""

    def apply(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Return the entries that are shown. Raises InvalidInput for a condition or a name that does not fit them.

        Without entries no name is known, and none is refused.
        """
        if not entries:
            return ()
        if self.where is self.best_per is self.sort is None:
            return tuple(entries[:: -1 if self.is_reversed else 1][: self.top])
        rows = [(entry, entry.row()) for entry in entries]
        names = {name for _, row in rows for name in row} | {*COLUMNS}
        if self.where is not None:
            holds = parse_condition(self.where, names, "--where")
            rows = [(entry, row) for entry, row in rows if holds(row)]
        if self.best_per is not None:
            rows = _first_of_each(rows, _known(self.best_per, names, "--best-per"))
        if self.sort is not None:
            rows = _sorted(rows, _known(self.sort, names, "--sort"), is_reversed=self.is_reversed)
        elif self.is_reversed:
            rows.reverse()
        return tuple(entry for entry, _ in rows[: self.top])


def choose_trials(run: RunFolder, trial_ids: Sequence[str] = (), ranks: Sequence[int] = ()) -> list[TrialResult]:
    """Return the trials of these ids, then those of these ranks of the leaderboard, counted from 1.

    Raises InvalidInput for an id or a rank that no trial has, and for a trial that is chosen twice.
    """
    ledger = Ledger(run)
    trials = [ledger.read_trial(name) for name in trial_ids]
    ranked = {entry.rank: entry.trial for entry in Leaderboard.from_run(run).entries if entry.rank} if ranks else {}
    for rank in ranks:
        if rank not in ranked:
            raise InvalidInput(
                f"--rank: must be from 1 to {len(ranked)}, the number of COMPLETED trials of {run.root}, got {rank}; "
                "choose another, or name a trial by its id"
            )
        trials.append(ranked[rank])
    names = [trial.trial_id for trial in trials]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"trials must differ, got {', '.join(twice)} twice; a trial has one vote")
    return trials


def best_completed(run: RunFolder, count: int) -> list[TrialResult]:
    """Return the best `count` COMPLETED trials. Raises InvalidInput for fewer than 2, and where there are fewer."""
    if count < 2:
        raise InvalidInput(f"--ensemble must be at least 2, got {count}; without it the winner alone is taken")
    entries = Leaderboard.from_run(run).entries
    completed = [entry.trial for entry in entries if entry.trial.status is Status.COMPLETED]
    if len(completed) < count:
        raise InvalidInput(
            f"{run.root}: --ensemble must be at most the number of COMPLETED trials, got {count} of {len(completed)}; "
            "ask for fewer, or name the trials"
        )
    return completed[:count]


def choose_trial(run: RunFolder, trial_id: str | None, rank: int | None) -> TrialResult | None:
    """Return the trial of an id or of a rank; None where neither is given. Raises InvalidInput where both are."""
    if trial_id is not None and rank is not None:
        raise InvalidInput(f"--rank: must stand without --trial, got {rank} and {trial_id}; give one of them")
    chosen = choose_trials(run, [] if trial_id is None else [trial_id], [] if rank is None else [rank])
    return next(iter(chosen), None)


def _known(name: str, names: set[str], option: str) -> str:
    if name not in names:
        raise InvalidInput(f"{option}: unknown name {shown(name)}; {closest(name, sorted(names))}")
    return name


def _first_of_each(rows: Sequence[tuple[Entry, dict[str, Any]]], name: str) -> list[tuple[Entry, dict[str, Any]]]:
    best: dict[str, tuple[Entry, dict[str, Any]]] = {}
    for entry, row in rows:
        best.setdefault(repr(row.get(name)), (entry, row))
    return list(best.values())


def _sorted(
    rows: Sequence[tuple[Entry, dict[str, Any]]], name: str, *, is_reversed: bool
) -> list[tuple[Entry, dict[str, Any]]]:
    def place(pair: tuple[Entry, dict[str, Any]]) -> tuple[bool, float, str]:
        value = pair[1][name]
        is_number = isinstance(value, int | float)
        return (not is_number, value if is_number else 0.0, "" if is_number else str(value))

    with_value = sorted((pair for pair in rows if name in pair[1]), key=place, reverse=is_reversed)
    return with_value + [pair for pair in rows if name not in pair[1]]

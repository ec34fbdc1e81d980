"""Confirmation: finalists of a run, each trained again under several seeds, and whether one of them is the best.

The best of many validation scores is partly luck: of its seed, and of the images. New seeds take away the first.
"""

import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from search_spaces.errors import InvalidInput
from trainables.config import Objective
from trainables.interval import Interval
from trainables.result import TrialResult
from trainables.status import Status
from trainables.task_catalog import metrics_of

_CONFIDENCE = 0.95
_ANY = Interval(-math.inf, math.inf)


@dataclass(frozen=True)
class Finalist:
    """Finalist: a trial that was trained again under several seeds."""

    trial_id: str
    """Trial of the search."""

    values: Mapping[int, float]
    """Objective of each training by its seed."""

    mean: float
    """Mean of the values."""

    interval: Interval | None
    """Interval of the mean over other seeds (Student's t); None for one seed."""

    behind: Interval | None = None
    """Interval of the distance to the best finalist (Welch's t); None for the best itself, for one seed, and where
    neither varies."""

    p_value: float | None = None
    """Probability of such a distance between equal finalists, two-sided; None for the best itself and for one seed."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return {
            "trial_id": self.trial_id,
            "values": {str(seed): value for seed, value in self.values.items()},
            "mean": self.mean,
            "interval": None if self.interval is None else list(self.interval),
            "behind": None if self.behind is None else list(self.behind),
            "p_value": self.p_value,
        }


@dataclass(frozen=True)
class Confirmation:
    """Confirmation: what the trainings of the finalists say so far."""

    objective: Objective
    """Objective of the run."""

    finalists: tuple[Finalist, ...]
    """Finalists with a value, the best mean first."""

    planned: int
    """Number of trainings."""

    completed: int
    """Number of those that have a value."""

    failed: int = 0
    """Number of those that have ended without one."""

    former: tuple[Finalist, ...] = ()
    """Finalists of the confirmation before its last extension, the best mean first; none where it was not finished."""

    tried: frozenset[str] = frozenset()
    """Ids of the finalists of which a training has ended, with a value or without."""

    @property
    def is_done(self) -> bool:
        """True where no training is left to do."""
        return self.completed + self.failed >= self.planned

    @property
    def verdict(self) -> tuple[Finalist, ...]:
        """Finalists, the best mean first, of the last confirmation that was finished; none before the first."""
        return self.finalists if self.is_done else self.former

    @property
    def winner(self) -> Finalist | None:
        """Best finalist; None where it cannot be told from each of the others, or others are still being trained.

        It has to be better than every other, each at a level of 5 %. So equal finalists are told apart in at most 5 of
        100 confirmations, however many there are (intersection-union test, Berger 1982).
        """
        if not self.is_done or len(self.finalists) < 2:
            return None
        best, *others = self.finalists
        return best if all(_is_below(other.p_value, 1 - _CONFIDENCE) for other in others) else None

    @property
    def left_behind(self) -> tuple[Finalist, ...]:
        """Finalists that are worse than the best one, at a level of 5 % for all of them together (Bonferroni).

        Which one is the best is seen afterwards: so all pairs count.
        """
        pairs = math.comb(len(self.finalists), 2)
        return tuple(other for other in self.finalists[1:] if _is_below(other.p_value, (1 - _CONFIDENCE) / pairs))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return {
            "metric": self.objective.metric,
            "planned": self.planned,
            "completed": self.completed,
            "failed": self.failed,
            "winner": None if self.winner is None else self.winner.trial_id,
            "finalists": [finalist.to_json() for finalist in self.finalists],
        }


def read_confirmation(run: RunFolder) -> Confirmation | None:
    """Read the confirmation of a run; None where none was begun. Raises InvalidInput for records that are damaged."""
    if not run.confirm.is_dir():
        return None
    try:
        confirming = open_run(run.confirm)
    except InvalidInput:  # its driver has claimed the folder, and written nothing yet
        return None
    ledger = Ledger(confirming)
    record = ledger.read_run()
    names = {finalist_key(trial): trial.trial_id for trial in _best_first(run)}
    trained = [
        (name, trial)
        for trial in ledger.trials()
        if (name := names.get(finalist_key(trial))) is not None and not trial.status.unfinished
    ]
    finalists = _compared(trained, record.objective)
    completed = sum(len(finalist.values) for finalist in finalists)
    former = record.extensions[-1].first_trial if record.extensions else 0
    before = [(name, trial) for name, trial in trained if int(trial.trial_id) < former]
    compared = _compared(before, record.objective) if len(before) == former else ()
    return Confirmation(
        record.objective,
        finalists,
        record.trials_planned,
        completed,
        failed=len(trained) - completed,
        former=compared if len({tuple(finalist.values) for finalist in compared}) == 1 else (),
        tried=frozenset(name for name, _ in trained),
    )


def confirmed_winner(run: RunFolder) -> TrialResult:
    """Return the trial that a run recommends: the best finalist once all are confirmed, else that of rank 1.

    While more seeds are being trained, the verdict before them stands. Raises InvalidInput where no trial is COMPLETED.
    """
    board = Leaderboard.from_run(run)
    found = read_confirmation(run)
    finalists = () if found is None else found.verdict
    return Ledger(run).read_trial(finalists[0].trial_id) if finalists else board.winner()


def _compared(trained: Sequence[tuple[str, TrialResult]], objective: Objective) -> tuple[Finalist, ...]:
    """Compare finalists by their trainings, each with the id of its finalist."""
    values: dict[str, dict[int, float]] = {}
    for name, trial in trained:
        if trial.status is Status.COMPLETED and trial.objective is not None:
            values.setdefault(name, {})[trial.config.seed] = trial.objective
    if not values:
        return ()
    metric = metrics_of(trained[0][1].config.task)[objective.metric]
    return compare_finalists(values, objective, Interval(metric.low, metric.high))


def compare_finalists(
    values: Mapping[str, Mapping[int, float]], objective: Objective, bounds: Interval = _ANY
) -> tuple[Finalist, ...]:
    """Return the finalists, the best mean first, from their values by trial id and seed.

    `bounds` are the values that the objective can have: Student's interval of few seeds may reach beyond them.
    """
    sign = 1 if objective.mode == "max" else -1
    means = {name: statistics.fmean(found.values()) for name, found in values.items() if found}
    ordered = sorted(means, key=lambda name: (-sign * means[name], name))
    finalists = []
    for name in ordered:
        own, best = [*values[name].values()], [*values[ordered[0]].values()]
        behind, p_value = (None, None) if name == ordered[0] else _distance(best, own, sign)
        interval = _mean_interval(own, bounds)
        finalists.append(Finalist(name, dict(values[name]), means[name], interval, behind, p_value))
    return tuple(finalists)


def confirmation_text(found: Confirmation) -> str:
    """Return in a sentence whether there is a winner."""
    names = [finalist.trial_id for finalist in found.finalists]
    if not names:
        return "no finalist has a value yet" if not found.is_done else "no training of a finalist has completed"
    failed = f"; {found.failed} of {found.planned} trainings failed" if found.failed else ""
    if not found.is_done:
        return f"{found.completed} of {found.planned} trainings are done; {names[0]} leads{failed}"
    best, others = found.finalists[0], found.finalists[1:]
    seeds = f"{len(best.values)} seed{'s' if len(best.values) > 1 else ''}"
    if not others:
        return f"{best.trial_id} is the only finalist: {found.objective.metric} {best.mean:.4f} over {seeds}{failed}"
    if found.winner is not None:
        each = "the other" if len(others) == 1 else f"each of the {len(others)} others"
        return f"{best.trial_id} is the winner: over {seeds} it is better than {each} (Welch's t, 5 %){failed}"
    if best.interval is None:
        return f"{best.trial_id} leads, but one seed cannot tell finalists apart; give --seeds 5{failed}"
    behind = [finalist.trial_id for finalist in found.left_behind]
    equal = [name for name in names if name not in behind]
    worse = f"; {' and '.join(behind)} {'are' if len(behind) > 1 else 'is'} worse" if behind else ""
    tie = (
        f"{', '.join(equal[:-1])} and {equal[-1]} cannot be told apart over {seeds}"
        if len(equal) > 1
        else (f"{equal[0]} leads, but its distance to {behind[-1]} is uncertain")
    )
    together = f"5 % for all {math.comb(len(names), 2)} pairs together; intervals and p are of one pair"
    level = together if len(others) > 1 else "5 %"
    return f"no winner: {tie} ({level}){worse}; the best mean is that of {best.trial_id}{failed}"


def finalist_key(trial: TrialResult) -> str:
    """Return what trainings of one finalist share: all settings that decide the result, but for the seed."""
    config = trial.config.model_copy(update={"seed": 0, "feature_views": 0})
    return repr(sorted(config.flat().items()))


def _best_first(run: RunFolder) -> Sequence[TrialResult]:
    # Of trials that differ in their seed alone the last one stands in the mapping: the best.
    return [entry.trial for entry in reversed(Leaderboard.from_run(run).entries) if entry.rank is not None]


def _mean_interval(values: Sequence[float], bounds: Interval) -> Interval | None:
    from scipy import stats  # takes a second

    if len(values) < 2:
        return None
    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    half = float(stats.t.ppf(0.5 + _CONFIDENCE / 2, len(values) - 1)) * error
    return Interval(max(mean - half, bounds.low), min(mean + half, bounds.high))


def _distance(best: Sequence[float], other: Sequence[float], sign: int) -> tuple[Interval | None, float | None]:
    """Return the interval of how far a finalist is behind the best, and its p-value."""
    from scipy import stats

    if len(best) < 2 or len(other) < 2:
        return None, None
    distance = sign * (statistics.fmean(best) - statistics.fmean(other))
    if statistics.stdev(best) == statistics.stdev(other) == 0:
        # Without any spread Student's distribution says nothing; the permutation test counts the ways to divide them.
        return None, 2 / math.comb(len(best) + len(other), len(best)) if distance > 0 else 1.0
    with warnings.catch_warnings():  # one of the two may be constant
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.ttest_ind(best, other, equal_var=False)
    low, high = (sign * float(bound) for bound in found.confidence_interval(_CONFIDENCE))
    return Interval(min(low, high), max(low, high)), float(found.pvalue)


def _is_below(value: float | None, level: float) -> bool:
    return value is not None and value < level

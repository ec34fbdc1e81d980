"""Budgets beside the number of trials: how far a run has used them up, told from the ledger alone."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from search_spaces.words import OrNone
from trainables.config import Frozen, Objective
from trainables.result import Status, TrialResult

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = r"^(\d+(\.\d+)?[dhms])+$"


def _seconds(value: Any) -> Any:
    if value is None or isinstance(value, float):
        return value
    if not isinstance(value, str) or re.fullmatch(_DURATION, value) is None:
        raise ValueError(f"must be a time with its unit, got {value!r}; write e.g. 2h, 1h30m, 90m or 45s")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([dhms])", value))


Duration = Annotated[
    Annotated[float, Field(gt=0)],
    BeforeValidator(_seconds),
    PlainSerializer(lambda seconds: f"{seconds:.10g}s", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _DURATION}),
]
"""Seconds; in a file a text such as 1h30m, with the units d, h, m and s."""


class Budget(Frozen):
    """What ends a sweep before its trials are done; whichever comes first, and all over every resume together.

    Trials that run at that moment finish their epoch and are INTERRUPTED: `thaw extend RUN --set budget...` goes on.
    """

    wall_clock: OrNone[Duration] = None
    """Time with a driver at work, e.g. 2h, 1h30m or 45s."""

    gpu_hours: OrNone[Annotated[float, Field(gt=0)]] = None
    """Hours of all epochs of all trials, times the GPUs of a trial."""

    target: OrNone[Annotated[float, Field(allow_inf_nan=False)]] = None
    """A value of the objective; the trial that reaches it is COMPLETED at that epoch."""

    plateau: OrNone[Annotated[int, Field(ge=1)]] = None
    """Trials begun after the best one, or after the last `thaw extend`, that have ended without beating it."""


class BudgetMeter:
    """How much of a budget the trials of a run have used up."""

    def __init__(
        self,
        budget: Budget,
        objective: Objective,
        gpus: float,
        trials: Iterable[TrialResult] = (),
        seconds: float = 0.0,
        plateau_from: int = 0,
    ) -> None:
        """`gpus` are a trial's, `seconds` those of earlier drivers; trials before `plateau_from` are no plateau."""
        self.budget = budget
        self.objective = objective
        self.gpus = gpus
        self.seconds = seconds
        self.plateau_from = plateau_from
        self._trained: dict[str, float] = {}
        self._trained_sum = 0.0
        self._ended: set[int] = set()
        self._best: tuple[float, int] | None = None
        for trial in trials:
            self.note(trial)

    def note(self, trial: TrialResult) -> None:
        """Take in a change of a trial."""
        self._trained_sum += trial.seconds - self._trained.get(trial.trial_id, 0.0)
        self._trained[trial.trial_id] = trial.seconds
        if trial.status.unfinished:
            return
        number, value = int(trial.trial_id), trial.objective
        self._ended.add(number)
        if trial.status is Status.COMPLETED and value is not None:
            best = self._best
            if best is None or self.objective.better(value, best[0]) or (value == best[0] and number < best[1]):
                self._best = value, number

    def exhausted(self, driving: float = 0.0) -> str | None:
        """Which part is used up and how, None while there is some left; `driving` seconds belong to this driver."""
        budget, best = self.budget, self._best
        wall, gpu_hours = self.seconds + driving, self._trained_sum * self.gpus / 3600
        if best is not None and reached(budget.target, self.objective, best[0]):
            return f"budget.target: trial {best[1]:04d} reached {best[0]:.4f}, {budget.target:g} was asked for"
        if budget.wall_clock is not None and wall >= budget.wall_clock:
            return f"budget.wall_clock: {clock(wall)} of {clock(budget.wall_clock)} are used"
        if budget.gpu_hours is not None and gpu_hours >= budget.gpu_hours:
            return f"budget.gpu_hours: {gpu_hours:.4g} of {budget.gpu_hours:g} are used"
        if budget.plateau is not None and best is not None:
            since = max(best[1] + 1, self.plateau_from)
            waited = sum(number >= since for number in self._ended)
            if waited >= budget.plateau:
                return f"budget.plateau: {waited} trials in a row did not beat {best[0]:.4f} of trial {best[1]:04d}"
        return None


def clock(seconds: float) -> str:
    """A time as people write it: 1h30m, 45s."""
    rest, parts = round(seconds), []
    for unit in ("h", "m", "s"):
        count, rest = divmod(rest, int(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or f"{seconds:.2g}s"


def reached(target: float | None, objective: Objective, value: float) -> bool:
    """Whether a value of the objective is the target or better."""
    return target is not None and not objective.better(target, value)

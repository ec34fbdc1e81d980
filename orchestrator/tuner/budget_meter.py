"""BudgetMeter: the used-up share of a sweep's budgets, computed from its trials alone."""

from collections.abc import Iterable

from orchestrator.spec.budget import Budget, clock, reached
from orchestrator.tracking.observer import Observer
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.status import Status


class BudgetMeter(Observer):
    """BudgetMeter: sum over the trials of a run."""

    def __init__(
        self,
        budget: Budget,
        objective: Objective,
        gpus: float,
        trials: Iterable[TrialResult] = (),
        seconds: float = 0.0,
        plateau_from: int = 0,
    ) -> None:
        """Add `trials`; `gpus` are a trial's, `seconds` earlier drivers'; the plateau begins at `plateau_from`."""
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
            self.on_trial(trial)

    def on_trial(self, trial: TrialResult) -> None:
        """Add a change of a trial."""
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
        """Name the budget that is used up, with its figures; None while none is. `driving`: this driver's seconds."""
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

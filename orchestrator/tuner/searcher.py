"""The one place where trials begin and end on the driver: proposals, the ledger and the study move together.

Ray's own OptunaSearch tells Optuna that a stopped trial is complete with its early value, and cannot start from old
results without private state; so this is Ray's public Searcher over Optuna's public ask and tell.
"""

import logging
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import optuna
from ray.tune.search import Searcher

from analysis.ledger import Ledger
from orchestrator.search.novelty import NoveltySampler
from orchestrator.search.optuna_space import suggest, to_parameters
from orchestrator.search.samplers import make_sampler, seed_of
from orchestrator.search.study import locate_trial, tell
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tuner.restarts import RestartPolicy
from orchestrator.worker.assignment import Assignment, read_answer
from search_spaces.errors import StorageFailed
from search_spaces.space import Point
from trainables.result import Failure, Status, TrialResult

log = logging.getLogger(__name__)


def raise_error(error: StorageFailed) -> None:
    """Raise the error."""
    raise error


class LedgerSearcher(Searcher):
    """Hands out unfinished trials first, then the points to try first, then what is drawn and the sampler proposes."""

    def __init__(
        self,
        spec: SweepSpec,
        ledger: Ledger,
        study: optuna.Study,
        assign: Callable[[TrialResult], Assignment],
        on_change: Callable[[TrialResult], None],
        first_points: Sequence[Point],
        over: Callable[[], bool] = lambda: False,
        give_up: Callable[[StorageFailed], None] = raise_error,
        pruned_at_end: Container[str] = (),
        draw: Callable[[int], Point | None] = lambda number: None,
    ) -> None:
        """`over` says that a budget is used up: nothing is begun any more, and what runs is stopped at its epoch.

        `give_up` is told when what must last cannot be written; `pruned_at_end` has the trials that, stopped so,
        were at a rung and would have been stopped anyway. `draw` gives the point of a trial that is not the
        sampler's to propose.
        """
        super().__init__()
        self.spec = spec
        self.ledger = ledger
        self.study = study
        self.assign = assign
        self.on_change = on_change
        self.over = over
        self.give_up = give_up
        self.pruned_at_end = pruned_at_end
        self.draw = draw
        self.restarts = RestartPolicy()
        known = ledger.trials()
        self._unfinished = deque(trial for trial in known if trial.status.unfinished)
        self._first_points = deque(first_points)
        for point in (locate_trial(spec, trial) for trial in known):
            if point is not None and point in self._first_points:
                self._first_points.remove(point)
        self._next_number = 1 + max((int(trial.trial_id) for trial in known), default=-1)
        self._running: dict[str, tuple[TrialResult, optuna.Trial]] = {}

    @property
    def remaining(self) -> int:
        """Trials still to be handed out."""
        return len(self._unfinished) + max(0, self.spec.search.trials - self._next_number)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray omits FINISHED
        """The next trial for Tune, entered in the ledger before it starts."""
        if self.over():
            return Searcher.FINISHED
        if self._unfinished:
            trial = self._unfinished.popleft().model_copy(update={"status": Status.RUNNING})
            point = locate_trial(self.spec, trial)
            asked, _ = self._ask(point, int(trial.trial_id))
            self._report(asked, trial, since=0)
        elif self._next_number < self.spec.search.trials:
            given = self._first_points.popleft() if self._first_points else self.draw(self._next_number)
            asked, point = self._ask(given, self._next_number)
            trial = TrialResult(
                trial_id=f"{self._next_number:04d}",
                config=self.spec.trial_config(point, "suggestion"),
                parameters=dict(point),
                status=Status.RUNNING,
            )
            self._next_number += 1
        else:
            return Searcher.FINISHED
        asked.set_user_attr("trial_id", trial.trial_id)
        self._running[trial_id] = (trial, asked)
        self._record(trial)
        return self.assign(trial).to_tune()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Enter an epoch in the ledger and in the study."""
        trial, asked = self._running[trial_id]
        newer = read_answer(result) or trial
        self._report(asked, newer, since=len(trial.reports))
        self._running[trial_id] = (newer, asked)
        self._record(newer)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Settle a trial: its own end where it has one, FAILED where it died, else PRUNED, as the scheduler stopped it.

        One that was stopped because a budget is used up is INTERRUPTED: an extended sweep goes on with it. One whose
        storage failed is left as it is known, for a resumed sweep to go on with; this one ends.
        """
        trial = read_answer(result) or self._running[trial_id][0]
        if trial.status is Status.INTERRUPTED and trial.failure is not None:
            self.give_up(StorageFailed(trial.failure.message))
            return
        known, asked = self._running.pop(trial_id)
        if error:
            status, reason = self.restarts.verdict(trial_id)
            failure = Failure(message=reason, log=f"logs/{trial.trial_id}.log")
            trial = trial.model_copy(update={"status": status, "failure": failure})
        elif trial.status is Status.RUNNING:
            goes_on = self.over() and trial_id not in self.pruned_at_end
            status = Status.INTERRUPTED if goes_on else Status.PRUNED
            trial = trial.model_copy(update={"status": status})
        self._report(asked, trial, since=len(known.reports))
        self._record(trial)
        tell(self.study, asked, trial)
        log.info(
            "trial %s: %s after %d epochs, objective %s",
            trial.trial_id,
            trial.status,
            len(trial.reports),
            trial.objective,
        )

    def interrupt(self) -> list[TrialResult]:
        """Mark what still runs as INTERRUPTED, so that a resumed sweep goes on with it."""
        stopped: list[TrialResult] = []
        for running, asked in self._running.values():
            trial = running.model_copy(update={"status": Status.INTERRUPTED})
            self._record(trial)
            tell(self.study, asked, trial)
            stopped.append(trial)
        self._running.clear()
        return stopped

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher, but a resumed sweep is rebuilt from the ledger alone."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing, for the same reason."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, for the same reason."""

    def _record(self, trial: TrialResult) -> None:
        try:
            self.ledger.write_trial(trial)
        except StorageFailed as error:
            self.give_up(error)
        else:
            self.on_change(trial)

    def _ask(self, point: Mapping[str, Any] | None, number: int) -> tuple[optuna.Trial, Point]:
        """An Optuna trial of the given point, or of the sampler's choice for the trial with this number."""
        space, search = self.spec.search_space, self.spec.search
        sampler = make_sampler(search, number)
        self.study.sampler = (
            NoveltySampler(sampler, space, seed_of(search, number)) if search.sampler == "tpe" else sampler
        )
        if point is not None:
            self.study.enqueue_trial(to_parameters(space, point))
        asked = self.study.ask()
        if search.sampler == "nsga2":
            _ = asked.relative_params  # by asking for them, a given point too is counted in its generation
        return asked, suggest(space, asked)

    @staticmethod
    def _report(asked: optuna.Trial, trial: TrialResult, since: int) -> None:
        metric = trial.config.objective.metric
        for report in trial.reports[since:]:
            asked.report(report.metrics[metric], step=report.epoch)

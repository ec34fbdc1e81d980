"""The one place where trials begin and end on the driver: proposals, the ledger and the study move together.

Ray's own OptunaSearch tells Optuna that a stopped trial is complete with its early value, and cannot start from old
results without private state; so this is Ray's public Searcher over Optuna's public ask and tell.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from ray.tune.search import Searcher

from analysis.ledger import Ledger
from orchestrator.assignment import Assignment, read_answer
from orchestrator.spec import SweepSpec
from orchestrator.study import tell
from orchestrator.suggest import suggest, to_parameters
from search_spaces.errors import StorageFailed
from search_spaces.space import Point
from trainables.result import Failure, Status, TrialResult

log = logging.getLogger(__name__)

MAX_RESTARTS = 3


class LedgerSearcher(Searcher):
    """Hands out unfinished trials first, then the points to try first, then the sampler's proposals."""

    def __init__(
        self,
        spec: SweepSpec,
        ledger: Ledger,
        study: optuna.Study,
        assign: Callable[[TrialResult], Assignment],
        on_change: Callable[[TrialResult], None],
        first_points: Sequence[Point],
        give_up: Callable[[StorageFailed], None],
    ) -> None:
        super().__init__()
        self.spec = spec
        self.ledger = ledger
        self.study = study
        self.assign = assign
        self.on_change = on_change
        self.give_up = give_up
        known = ledger.trials()
        self._unfinished = deque(trial for trial in known if trial.status.unfinished)
        self._first_points = deque(first_points)
        for trial in known:
            if trial.parameters in self._first_points:
                self._first_points.remove(trial.parameters)
        self._next_number = 1 + max((int(trial.trial_id) for trial in known), default=-1)
        self._running: dict[str, tuple[TrialResult, optuna.Trial]] = {}

    @property
    def remaining(self) -> int:
        """Trials still to be handed out."""
        return len(self._unfinished) + max(0, self.spec.search.trials - self._next_number)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray omits FINISHED
        """The next trial for Tune, entered in the ledger before it starts."""
        if self._unfinished:
            trial = self._unfinished.popleft().model_copy(update={"status": Status.RUNNING})
            asked, _ = self._ask(trial.parameters)
            self._report(asked, trial, since=0)
        elif self._next_number < self.spec.search.trials:
            asked, point = self._ask(self._first_points.popleft() if self._first_points else None)
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
        """Settle a trial: its own end where it has one, PRUNED where the scheduler stopped it, FAILED where it died.

        A trial whose storage failed is left as it is known, for a resumed sweep to go on with; this one ends.
        """
        trial = read_answer(result) or self._running[trial_id][0]
        if trial.status is Status.INTERRUPTED and trial.failure is not None:
            self.give_up(StorageFailed(trial.failure.message))
            return
        known, asked = self._running.pop(trial_id)
        if error:
            failure = Failure(
                message=f"its worker process died {MAX_RESTARTS + 1} times, by a signal or for lack of memory",
                log=f"logs/{trial.trial_id}.log",
            )
            trial = trial.model_copy(update={"status": Status.FAILED, "failure": failure})
        elif trial.status is Status.RUNNING:
            trial = trial.model_copy(update={"status": Status.PRUNED})
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
        stopped = [trial.model_copy(update={"status": Status.INTERRUPTED}) for trial, _ in self._running.values()]
        for trial in stopped:
            self._record(trial)
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

    def _ask(self, point: Mapping[str, Any] | None) -> tuple[optuna.Trial, Point]:
        """An Optuna trial of the given point, or of the sampler's choice."""
        space = self.spec.search_space
        if point is not None:
            self.study.enqueue_trial(to_parameters(space, point))
        asked = self.study.ask()
        return asked, suggest(space, asked)

    @staticmethod
    def _report(asked: optuna.Trial, trial: TrialResult, since: int) -> None:
        metric = trial.config.objective.metric
        for report in trial.reports[since:]:
            asked.report(report.metrics[metric], step=report.epoch)

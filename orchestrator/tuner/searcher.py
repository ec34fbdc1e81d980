"""LedgerSearcher: Ray Tune's searcher over the proposals and the ledger.

Ray's own OptunaSearch reports a stopped trial to Optuna as complete with its early value, and cannot start from old
results without private state. So this is Ray's public Searcher over Optuna's public ask and tell.
"""

from collections.abc import Callable, Container
from typing import Any

from ray.tune.search import Searcher

from orchestrator.search.proposals import Proposals
from orchestrator.tuner.restarts import RestartPolicy
from orchestrator.tuner.trial_states import StoppedBy, TrialStates
from orchestrator.worker.assignment import Assignment, read_answer
from trainables.result import TrialResult


class LedgerSearcher(Searcher):
    """LedgerSearcher: hands the proposals to Tune as assignments, and the answers to TrialStates."""

    def __init__(
        self,
        proposals: Proposals,
        states: TrialStates,
        assign: Callable[[TrialResult], Assignment],
        is_over: Callable[[], bool] = lambda: False,
        pruned_at_end: Container[str] = (),
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Connect the parts; while `is_over()`, no trial is begun, and running ones are stopped at their epoch.

        `pruned_at_end` has the trials that were at a rung when a budget stopped them, and fell behind there. Once
        `is_stopped()`, no trial is begun: Tune asks for trials before it looks whether it has to stop.
        """
        super().__init__()
        self.proposals = proposals
        self.states = states
        self.restarts = RestartPolicy()
        self._assign = assign
        self._is_over = is_over
        self._pruned_at_end = pruned_at_end
        self._is_stopped = is_stopped

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray omits FINISHED
        """Return the next trial as Tune's configuration, entered in the ledger before it starts."""
        proposal = None if self._is_over() or self._is_stopped() else self.proposals.next()
        if proposal is None:
            return Searcher.FINISHED
        return self._assign(self.states.begin(trial_id, proposal)).to_tune()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Enter an epoch in the ledger and in the study."""
        answer = read_answer(result)
        if answer is not None:
            self.states.report(trial_id, answer.trial)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Settle a trial that has ended by itself, died, or was stopped by the scheduler or a budget."""
        answer = read_answer(result)
        trial = None if answer is None else answer.trial
        if answer is not None and answer.end is not None:
            self.states.end(trial_id, trial, answer.end)
        elif error:
            reason, out_of_memory = self.restarts.verdict(trial_id)
            self.states.die(trial_id, reason, out_of_memory=out_of_memory)
        else:
            by_budget = self._is_over() and trial_id not in self._pruned_at_end
            self.states.stop(trial_id, trial, StoppedBy.BUDGET if by_budget else StoppedBy.SCHEDULER)

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its searcher, but a resumed sweep is rebuilt from the ledger alone."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing, for the same reason."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, for the same reason."""

"""Scheduler: Ray Tune's view of the rungs."""

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from orchestrator.search.rungs import Rungs
from orchestrator.worker.assignment import read_answer


class PlanAwareAsha(FIFOScheduler):
    """PlanAwareAsha: Ray Tune's view of `Rungs`; trials are started in order, and judged at rungs."""

    def __init__(self, rungs: Rungs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rungs = rungs
        self.pruned_at_end: set[str] = set()
        """Tune's names of the trials that ended where they would have been stopped."""

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, object]) -> str:
        """Stop a trial that falls behind at a rung, by the best objective it has reached so far."""
        answer = read_answer(result)
        continues = answer is None or self.rungs.continues(answer.trial)
        return TrialScheduler.CONTINUE if continues else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, object]) -> None:
        """Judge the last epoch of a trial that a budget or its own end has stopped: Tune does not report it before."""
        answer = read_answer(result)
        if answer is not None and not self.rungs.continues(answer.trial):
            self.pruned_at_end.add(trial.trial_id)

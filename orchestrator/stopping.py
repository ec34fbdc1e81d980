"""ASHA that knows the freeze plan: a trial is never judged before it has thawed.

Asynchronous successive halving (Li et al., arXiv 1810.05934). A rung is a number of completed epochs. A trial that
reaches a rung is compared with everything that reached it before; outside the best 1/reduction it is stopped. A rung
below the trial's last thaw plus the grace period compares a trial with itself frozen: it is passed unjudged, and the
trial's value is never entered there.
"""

import numpy as np
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from orchestrator.assignment import read_answer
from orchestrator.spec import Asha, SweepSpec
from trainables.config import TrialConfig
from trainables.model.plan import freeze_plan
from trainables.result import TrialResult, best_report


class Rungs:
    """Which value each trial had when it reached each rung."""

    def __init__(self, asha: Asha, max_epochs: int) -> None:
        self.asha = asha
        self.values: dict[int, dict[str, float]] = {}
        self._judged: dict[str, int] = {}
        epoch = asha.grace
        while epoch < max_epochs:
            self.values[epoch] = {}
            epoch *= asha.reduction

    def keeps(self, trial: TrialResult) -> bool:
        """Enter the epochs of a trial that are new since the last call, and judge it; whether it goes on."""
        seen = self._judged.get(trial.trial_id, 0)
        self._judged[trial.trial_id] = len(trial.reports)
        boundary = freeze_plan(trial.config).last_boundary
        verdicts = [self._keeps_at(trial, epoch, boundary) for epoch in range(seen + 1, len(trial.reports) + 1)]
        return all(verdicts)

    def first_judged(self, config: TrialConfig) -> int | None:
        """The first rung at which a trial of this configuration may be stopped; None: it is never."""
        least = freeze_plan(config).last_boundary + self.asha.grace
        return min((epoch for epoch in self.values if least <= epoch < config.epochs), default=None)

    def _keeps_at(self, trial: TrialResult, epoch: int, boundary: int) -> bool:
        rung = self.values.get(epoch)
        if rung is None or epoch < boundary + self.asha.grace:
            return True
        objective = trial.config.objective
        # What was reached before the thaw had taken effect stays out of the rung, however good it was.
        best = best_report(trial.reports[boundary + self.asha.grace - 1 : epoch], objective)
        if best is None:
            return True
        rung[trial.trial_id] = best.metrics[objective.metric] * (1 if objective.mode == "max" else -1)
        cutoff = np.percentile(list(rung.values()), (1 - 1 / self.asha.reduction) * 100)
        return bool(rung[trial.trial_id] >= cutoff)


def rungs_of(spec: SweepSpec) -> Rungs | None:
    """The rungs of a sweep, still empty; None where nothing is stopped."""
    if spec.stopping is None:
        return None
    return Rungs(spec.stopping.asha, max(config.epochs for config in spec.corner_configs()))


def never_stopped(spec: SweepSpec) -> str | None:
    """What to say of trials that thaw so late that no rung is left to stop them at; None where there are none."""
    rungs = rungs_of(spec)
    configs = spec.corner_configs()
    late = [config for config in configs if rungs is not None and rungs.first_judged(config) is None]
    if rungs is None or not late:
        return None
    epochs = min(config.epochs for config in late)
    last, grace = max((epoch for epoch in rungs.values if epoch < epochs), default=0), rungs.asha.grace
    remedy = "set a smaller stopping.asha.grace or reduction, thaw earlier, train longer, or set stopping: none"
    if len(late) == len(configs):
        between = f"of {epochs} epochs none is a rung after the last thaw and {grace} of grace"
        return f"no trial of this sweep can be stopped early: {between}; {remedy}"
    strategies = ", ".join(dict.fromkeys(config.strategy for config in late))
    first = max(0, last - grace + 1)
    return (
        f"trials that thaw for the last time at epoch {first} or later ({strategies}) are never stopped early: with "
        f"{grace} of grace they are past epoch {last}, the last rung before their end at {epochs}; {remedy}"
    )


class PlanAwareAsha(FIFOScheduler):
    """Ray Tune's view of `Rungs`: trials are started in order, and judged after every epoch."""

    def __init__(self, rungs: Rungs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rungs = rungs

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, object]) -> str:
        """Stop a trial that falls behind at a rung, by the best objective it has reached so far."""
        state = read_answer(result)
        keeps = state is None or self.rungs.keeps(state)
        return TrialScheduler.CONTINUE if keeps else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, object]) -> None:
        """Enter the last epoch of a trial that ended by itself, at a rung perhaps: Tune does not show it before."""
        state = read_answer(result)
        if state is not None:
            self.rungs.keeps(state)

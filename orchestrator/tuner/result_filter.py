"""ResultFilter: keeps what the ledger has already out of Tune's memory."""

from typing import Any

from ray.tune import Callback, PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.result import NODE_IP, PID

from orchestrator.worker.assignment import ANSWER

_KEPT = {ANSWER, NODE_IP, PID}


class ResultFilter(Callback):
    """ResultFilter: lets Tune keep a running trial's last answer and its place, and next to nothing of an ended one.

    Tune adds the trial's configuration and times to each result. As long as the sweep lasts, it holds the last result
    and, for each number in it, six statistics and the last ten values: 15 kB per trial that are never used. It also
    holds each trial's configuration, here three texts of the whole assignment.
    """

    def __init__(self) -> None:
        self._placement: PlacementGroupFactory | None = None

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Remove the rest from the result, before Tune keeps it (it allows its callbacks to change a result)."""
        for name in result.keys() - _KEPT:
            del result[name]

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Remove what no one reads after the end of a trial: the searcher has had its last result."""
        trial.config.clear()  # in place: Tune keeps it under a second name
        trial.evaluated_params = {}
        trial.experiment_tag = ""
        trial.invalidate_json_state()  # type: ignore[no-untyped-call]
        kept = trial.run_metadata
        kept.last_result = {ANSWER: ""}  # it also had the tag; of an empty one Tune would print a line
        kept.metric_analysis.clear()
        kept.metric_n_steps.clear()
        # Tune makes an object of the resources for each trial, all with the same content.
        if self._placement != trial.placement_group_factory:
            self._placement = trial.placement_group_factory
        trial.placement_group_factory = self._placement  # type: ignore[assignment]

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Do the same after a trial whose process died too often."""
        self.on_trial_complete(iteration, trials, trial, **info)

"""ResultFilter: keeps fields that the ledger has already out of Tune's memory."""

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.result import NODE_IP, PID

from orchestrator.worker.assignment import ANSWER

_KEPT = {ANSWER, NODE_IP, PID}


class ResultFilter(Callback):
    """ResultFilter: lets Tune keep a trial's last answer and its place.

    Tune adds the trial's configuration and times to each result. As long as the sweep lasts, it holds the last result
    and, for each number in it, six statistics and the last ten values: 15 kB per trial that are never used.
    """

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Remove the rest from the result, before Tune keeps it (it allows its callbacks to change a result)."""
        for name in result.keys() - _KEPT:
            del result[name]

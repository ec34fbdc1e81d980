"""What Tune remembers of a result: not what the ledger has already."""

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.result import NODE_IP, PID

from orchestrator.worker.assignment import ANSWER

_KEPT = {ANSWER, NODE_IP, PID}


class ResultFilter(Callback):
    """Lets Tune keep a trial's last answer and its place.

    Tune adds the trial's configuration and times to each result, and holds the last of it and, for each number in it,
    six statistics and the last ten values, as long as the sweep lasts: 15 kB a trial that nobody asks for.
    """

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Take the rest out of the result, before Tune keeps it (it allows its callbacks to change a result)."""
        for name in result.keys() - _KEPT:
            del result[name]

"""RestartPolicy: the number of starts of a trial whose process died. A trial's own error ends it at once."""

from collections import Counter
from typing import Any

# Private, for two faults of Tune 2.60. It knows one way for an actor to end, and what Ray raises for a process that it
# killed for want of memory is none of it: the sweep would end with `RuntimeError: Caught unexpected exception`. And if
# a warm process has died before it takes up its next trial, Tune counts that death twice, gives the trial up at the
# second, and would not start it again, because it still waits for it to be taken up.
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune import Callback
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from orchestrator.worker.assignment import read_answer

MAX_RESTARTS = 2

# What Ray writes of a death: in the exceptions that reach Tune neither is a type or a field of its own.
_NODE_DIED = "its node has died"
_LOW_ON_MEMORY = "node running low on memory"
_UNREACHABLE = " is unavailable: "

MAX_UNREACHABLE = 30
"""Of one epoch. Until Ray knows that a node has died, some seconds, its processes are out of reach, one after another
and each several times; a process that crashes may be told of in that way too, and must not be started for ever."""


class RestartPolicy(Callback):
    """Restarts a trial without limit while it completes epochs, and gives up after three deaths in one epoch.

    Each completed epoch earns a trial MAX_RESTARTS starts; the death of its node costs none. So machines may be taken
    away as often as they like, while a configuration that kills its process ends after MAX_RESTARTS + 1 tries.
    """

    def __init__(self) -> None:
        self._out_of_memory: set[str] = set()
        self._epochs: dict[str, int] = {}
        self._unreachable: Counter[str] = Counter()

    def setup(self, stop: Any = None, num_samples: Any = None, total_num_samples: Any = None, **info: Any) -> None:
        """Have Tune take a process that Ray killed for want of memory for one that died, and count each death once."""
        told: dict[str, Exception] = {}

        def trial_failed(controller: TuneController, trial: Trial, exception: Any) -> None:
            if told.get(trial.trial_id) is not exception:
                told[trial.trial_id] = exception
                self.on_death(trial, str(exception))
                controller._resetting_trials.discard(trial)
                _tunes_own_of_trials(controller, trial, exception)

        RayActorManager._actor_task_failed = _task_failed  # type: ignore[method-assign]
        TuneController._process_trial_failure = trial_failed  # type: ignore[method-assign, assignment]

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Grant new starts after an epoch, though not after one that a trial shows again, having been started again."""
        answer = read_answer(result)
        if answer is None or len(answer.trial.reports) <= self._epochs.get(trial.trial_id, 0):
            return
        self._epochs[trial.trial_id] = len(answer.trial.reports)
        trial.max_failures = trial.num_failures + MAX_RESTARTS
        self._out_of_memory.discard(trial.trial_id)
        del self._unreachable[trial.trial_id]

    def on_death(self, trial: Trial, reason: str) -> None:
        """Grant a start for the death of a node, which costs none; remember who died for want of memory."""
        if _UNREACHABLE in reason:
            self._unreachable[trial.trial_id] += 1
        if _NODE_DIED in reason or (_UNREACHABLE in reason and self._unreachable[trial.trial_id] <= MAX_UNREACHABLE):
            trial.max_failures += 1
        if _LOW_ON_MEMORY in reason:
            self._out_of_memory.add(trial.trial_id)

    def verdict(self, tune_id: str) -> tuple[str, bool]:
        """Return the reason for which a trial is not started again, and whether that is lack of memory."""
        times = f"{MAX_RESTARTS + 1} times in the same epoch"
        if tune_id in self._out_of_memory:
            remedy = "lower batch_size, or run fewer trials at once with resources.concurrent"
            return f"its node ran low on memory, and Ray killed its process, {times}; {remedy}", True
        return f"its process died {times}, by a signal or for lack of memory; see its log", False


_tunes_own = RayActorManager._actor_task_failed
_tunes_own_of_trials = TuneController._process_trial_failure


def _task_failed(self: RayActorManager, tracked_actor_task: TrackedActorTask, exception: Exception) -> None:
    death = RayActorError(error_msg=str(exception)) if isinstance(exception, OutOfMemoryError) else exception
    _tunes_own(self, tracked_actor_task, death)

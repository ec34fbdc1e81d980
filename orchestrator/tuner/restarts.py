"""RestartPolicy: the number of starts of a trial whose process died. A trial's own error ends it at once."""

from collections import Counter
from typing import Any

# Private, for two faults of Tune 2.60. First, Tune knows only one way for an actor to end. The error that Ray raises
# for a process that it killed for lack of memory is another: the sweep would end with `RuntimeError: Caught unexpected
# exception`. Second, if a warm process has died before it takes up its next trial, Tune counts that death twice, gives
# the trial up at the second, and would not start it again, because Tune still waits for the process to take it up.
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune import Callback
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from orchestrator.worker.assignment import read_answer
from orchestrator.worker.worker_group import NODE_DIED

MAX_RESTARTS = 2

# Ray's texts for a death: in the exceptions that reach Tune, no type or field identifies these cases.
_LOW_ON_MEMORY = "node running low on memory"
_UNREACHABLE = " is unavailable: "

MAX_UNREACHABLE = 30
"""Limit per epoch. Until Ray knows that a node has died, which takes some seconds, each of its processes is unreachable
several times. A process that crashes may be reported as unreachable too, and must not be restarted without limit."""


class RestartPolicy(Callback):
    """RestartPolicy: restarts a trial without limit while it completes epochs, up to three deaths in one epoch.

    Each completed epoch earns a trial MAX_RESTARTS starts; the death of its node costs none. So machines may leave any
    number of times, while a configuration that kills its process ends after MAX_RESTARTS + 1 tries.
    """

    def __init__(self) -> None:
        self._out_of_memory: set[str] = set()
        self._epochs: dict[str, int] = {}
        self._unreachable: Counter[str] = Counter()

    def setup(self, stop: Any = None, num_samples: Any = None, total_num_samples: Any = None, **info: Any) -> None:
        """Make Tune treat a process that Ray killed for lack of memory as one that died, and count each death once."""
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
        """Grant new starts after a new epoch; an epoch that a restarted trial reports again grants none."""
        answer = read_answer(result)
        if answer is None or len(answer.trial.reports) <= self._epochs.get(trial.trial_id, 0):
            return
        self._epochs[trial.trial_id] = len(answer.trial.reports)
        trial.max_failures = trial.num_failures + MAX_RESTARTS
        self._out_of_memory.discard(trial.trial_id)
        del self._unreachable[trial.trial_id]

    def on_death(self, trial: Trial, reason: str) -> None:
        """Grant a start for the death of a node, which costs none; record the deaths for lack of memory."""
        if _UNREACHABLE in reason:
            self._unreachable[trial.trial_id] += 1
        if NODE_DIED in reason or (_UNREACHABLE in reason and self._unreachable[trial.trial_id] <= MAX_UNREACHABLE):
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

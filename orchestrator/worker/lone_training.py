"""Lone training: one training on the connected Ray outside of a sweep, with as many workers as a trial has."""

import logging
import pickle
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import count
from typing import Any, TypeVar

import ray
from ray.util.placement_group import PlacementGroup

from orchestrator.cluster.capacity import trial_bundles
from orchestrator.spec.sections import Resources
from orchestrator.worker.assignment import Assignment
from orchestrator.worker.forked_call import call_forked
from orchestrator.worker.run_trial import StartedTrial
from orchestrator.worker.worker_group import NODE_DIED, TrialEnded, WorkerGroup, WorkerLost
from search_spaces.errors import ThawError, TrialFailed
from trainables.result import EpochReport

log = logging.getLogger("orchestrator")

_Value = TypeVar("_Value")

ROOM_SECONDS = 10
"""Seconds without room for the workers after which a warning says so."""

TRIES = 3
"""Starts of an epoch in which processes die; those that die with their node do not count."""


def train_alone(assignment: Assignment, begin: Callable[[Any], StartedTrial]) -> Generator[EpochReport, None, None]:
    """Run the assignment with its resources on the connected Ray; yield each epoch once.

    It waits until there is room. Where processes of it die, it continues elsewhere from its last checkpoint. Closing
    the iterator ends it and frees the room. Raises TrialFailed for an error of the training, and after TRIES deaths in
    one epoch; StorageFailed as its ranks do.
    """
    known = deaths = 0
    while True:
        try:
            with closing(_attempt(assignment, begin)) as epochs:
                for report in epochs:
                    if report.epoch > known:
                        known, deaths = report.epoch, 0
                        yield report
            return
        except TrialEnded as error:
            raise TrialFailed(f"{error}; {_see_log(assignment)}") from error
        except WorkerLost as error:
            deaths += NODE_DIED not in str(error)
            if deaths == TRIES:
                raise TrialFailed(
                    f"epoch {known + 1} must end, but a process died in each of {TRIES} tries: {_first_line(error)}; "
                    f"{_see_log(assignment)}"
                ) from error
            log.warning("%s; the training continues from its last checkpoint", _first_line(error))


def call_alone(resources: Resources, function: Callable[..., _Value], *arguments: Any) -> _Value:
    """Call a function on a node that has what a worker needs: the driver's own may have no GPU, or few cores.

    Raises the function's ThawError, and ThawError where its process dies.
    """
    there = ray.remote(call_forked).options(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker)
    try:
        value: _Value = pickle.loads(ray.get(there.remote(pickle.dumps((function, arguments)))))
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, ThawError):
            raise cause from None
        raise ThawError(
            f"{function.__name__} must return from its node, but: {_last_line(error)}; run the command again"
        ) from error
    return value


def _attempt(assignment: Assignment, begin: Callable[[Any], StartedTrial]) -> Generator[EpochReport, None, None]:
    """Start processes, and train with them to the end; yield the epochs of the last checkpoint first."""
    resources = assignment.resources
    placed = ray.util.placement_group(trial_bundles(resources), strategy=resources.placement.upper())
    group = WorkerGroup(placed, begin)
    try:
        _await_room(placed)
        done, epochs = group.begin(assignment)
        yield from done
        yield from epochs
    finally:
        group.dismiss()
        ray.util.remove_placement_group(placed)


def _await_room(placed: PlacementGroup) -> None:
    """Wait until the resources are reserved, a second at a time, since Ctrl-C does not interrupt Ray."""
    for seconds in count(1):
        if placed.wait(1):
            return
        if seconds == ROOM_SECONDS:
            log.warning(
                "the training waits until there is room for its %d workers; Ctrl-C stops it", placed.bundle_count
            )


def _see_log(assignment: Assignment) -> str:
    return f"see {assignment.run_folder.log(assignment.trial.trial_id)}"


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

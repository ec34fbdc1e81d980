"""Lone trainings of real processes on a real Ray, which do what they should not: raise and die."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from orchestrator.spec.sections import Resources
from orchestrator.worker.assignment import Assignment
from orchestrator.worker.lone_training import call_alone, train_alone
from search_spaces.errors import InvalidInput, ThawError, TrialFailed
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

# The ranks do not find this module where they would look for it.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = [pytest.mark.seconds(20), pytest.mark.usefixtures("ray_here")]


@pytest.fixture
def assign(tmp_path: Path, trial: Callable[..., TrialResult]) -> Callable[[str], Assignment]:
    """A trial whose name says what its process does in its second epoch."""
    resources = Resources(workers=1)
    return lambda script: Assignment(
        trial=trial(script, [], Status.RUNNING, {"lr": 0.1}), run=tmp_path, cache=tmp_path, resources=resources
    )


def scripted(assignment: Assignment) -> tuple[tuple[EpochReport, ...], Iterator[EpochReport]]:
    """Three epochs, each of which is kept in a file; a process that dies does so once, or in each try."""
    epochs = Path(assignment.run, "epochs")
    epochs.touch()
    tries = Path(assignment.run, "tries")
    tries.open("a").write(f"{os.getpid()}\n")
    done = len(epochs.read_text())

    def train() -> Iterator[EpochReport]:
        for epoch in range(done + 1, 4):
            script = assignment.trial.trial_id if epoch == 2 else ""
            if script == "raises":
                raise InvalidInput("weights must be there")
            if script == "dies" or (script == "dies-once" and len(tries.read_text().split()) == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            epochs.open("a").write("x")
            yield report(epoch)

    return tuple(report(epoch) for epoch in range(1, done + 1)), train()


def report(epoch: int) -> EpochReport:
    return EpochReport(epoch=epoch, metrics={"val/macro_f1": 0.5}, seconds=1.0, checkpoint="best")


def test_a_training_whose_process_dies_once_yields_each_epoch_once(
    assign: Callable[[str], Assignment], tmp_path: Path, assert_nothing_is_left: Callable[[set[int]], None]
) -> None:
    assert [each.epoch for each in train_alone(assign("dies-once"), scripted)] == [1, 2, 3]
    pids = {int(pid) for pid in (tmp_path / "tries").read_text().split()}
    assert len(pids) == 2
    assert_nothing_is_left(pids)


def test_a_training_that_raises_or_always_dies_fails_and_names_its_log(
    assign: Callable[[str], Assignment], tmp_path: Path
) -> None:
    with pytest.raises(TrialFailed, match=rf"^InvalidInput: weights must be there; see {tmp_path}/logs/raises\.log$"):
        list(train_alone(assign("raises"), scripted))
    with pytest.raises(TrialFailed, match=r"^epoch 2 must end, but a process died in each of 3 tries: rank 0 of 1 has"):
        list(train_alone(assign("dies"), scripted))


def test_a_call_returns_the_value_or_raises_the_error_of_its_function() -> None:
    assert call_alone(Resources(), divided, 6, 3) == 2
    with pytest.raises(InvalidInput, match=r"^divisor must not be 0$"):
        call_alone(Resources(), divided, 6, 0)
    with pytest.raises(ThawError, match=r"^divided must return from its node, but: .*TypeError.*; run the"):
        call_alone(Resources(), divided, 6, "3")


def divided(number: int, by: int) -> float:
    if by == 0:
        raise InvalidInput("divisor must not be 0")
    return number / by

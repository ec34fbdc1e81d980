"""Trials in a process that is forked from a real server."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from orchestrator.spec.sections import Resources
from orchestrator.worker.assignment import Assignment, EndKind
from orchestrator.worker.forked_process import request_process
from orchestrator.worker.forked_rank import ForkedRank
from orchestrator.worker.forked_trial import ForkedTrial
from orchestrator.worker.rank import Rank
from orchestrator.worker.run_trial import StartedTrial
from orchestrator.worker.worker_group import TrialEnded
from search_spaces.errors import OutOfMemory, StorageFailed, TrialFailed
from trainables.result import EpochReport, TrialResult

# The forked process does not find this module where it would look for it.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there is a process forked")


def begin(assignment: Assignment) -> StartedTrial:
    """One epoch before, one to come, and then what the trial's name says."""

    def report(epoch: int) -> EpochReport:
        return EpochReport(epoch=epoch, metrics={"pid": float(os.getpid())}, seconds=0, checkpoint="last")

    def epochs() -> Iterator[EpochReport]:
        yield report(2)
        match assignment.trial.trial_id:
            case "fails":
                raise TrialFailed("loss must be finite")
            case "memory":
                raise OutOfMemory("a micro-batch must fit")
            case "storage":
                raise StorageFailed("the disk is full")

    return (report(1),), epochs()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedTrial]:
    """A process for one trial after another. Its server ends with the process that stands for a raylet."""
    with subprocess.Popen(["sleep", "600"]) as raylet:
        path = tmp_path_factory.mktemp("server") / "sock"
        trial = ForkedTrial(ForkedRank(request_process(path, raylet.pid, Rank(begin))))
        yield trial
        trial.dismiss()
        raylet.kill()


@pytest.fixture
def assign(trial: Callable[..., TrialResult], tmp_path: Path) -> Callable[[str], Assignment]:
    return lambda name: Assignment(trial=trial(name), run=tmp_path, cache=tmp_path, resources=Resources())


def test_trials_run_one_after_another_in_one_process(process: ForkedTrial, assign: Callable[[str], Assignment]) -> None:
    for name in ("0000", "0001"):
        done, epochs = process.begin(assign(name))
        reports = [*done, *epochs]
        assert [report.epoch for report in reports] == [1, 2]
        assert {report.metrics["pid"] for report in reports} == {process.pid} != {os.getpid()}


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("fails", EndKind.FAILED, "TrialFailed: loss must be finite"),
        ("memory", EndKind.OUT_OF_MEMORY, "OutOfMemory: a micro-batch must fit"),
    ],
)
def test_an_error_ends_the_trial_and_its_traceback_is_in_the_log(
    process: ForkedTrial, assign: Callable[[str], Assignment], name: str, kind: EndKind, message: str
) -> None:
    assignment = assign(name)
    _, epochs = process.begin(assignment)
    next(epochs)
    with pytest.raises(TrialEnded, match=message) as ended:
        next(epochs)
    assert ended.value.end.kind is kind
    log = assignment.run_folder.log(name).read_text()
    assert log.count("Traceback") == 1
    assert f"[{process.pid}] ERROR" in log


def test_storage_that_fails_is_no_end_of_the_trial(process: ForkedTrial, assign: Callable[[str], Assignment]) -> None:
    _, epochs = process.begin(assign("storage"))
    next(epochs)
    with pytest.raises(StorageFailed, match="the disk is full"):
        next(epochs)


def test_a_trial_that_is_stopped_early_is_closed(process: ForkedTrial, assign: Callable[[str], Assignment]) -> None:
    _, epochs = process.begin(assign("fails"))
    next(epochs)
    epochs.close()
    done, _ = process.begin(assign("0000"))
    assert len(done) == 1

"""Ranks that workers of a real Ray fork from a real server, and what happens where one of the three dies."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from orchestrator.spec.sections import Resources
from orchestrator.worker.assignment import Assignment
from orchestrator.worker.forked_rank import ForkedRank, fork_rank
from orchestrator.worker.run_trial import StartedTrial
from trainables.result import EpochReport, TrialResult

# The workers do not find this module where they would look for it.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = [
    pytest.mark.seconds(30),
    pytest.mark.usefixtures("ray_here"),
    pytest.mark.skipif(sys.platform != "linux", reason="only there is a rank forked"),
]


def begin(assignment: Assignment) -> StartedTrial:
    """One epoch, whose metrics are of the process that runs it."""
    if assignment.trial.trial_id == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    found = {"torch": float("torch" in sys.modules), "omp": float(os.environ["OMP_NUM_THREADS"])}
    reports = [EpochReport(epoch=1, metrics=found, seconds=0, checkpoint="last")]
    return (), iter(reports)


class Worker:
    def __init__(self) -> None:
        rank = fork_rank(begin)
        assert isinstance(rank, ForkedRank)
        self.rank = rank

    def pids(self) -> tuple[int, int]:
        return os.getpid(), self.rank.pid

    def has_torch(self) -> bool:
        return "torch" in sys.modules

    def call(self, method: str, *arguments: Any) -> Any:
        return getattr(self.rank, method)(*arguments)


@pytest.fixture
def workers() -> Iterator[Callable[[], Any]]:
    """Start workers; they are killed after the test."""
    started = []

    def start() -> Any:
        started.append(ray.remote(Worker).options(num_cpus=0).remote())
        return started[-1]

    yield start
    for worker in started:
        ray.kill(worker)


@pytest.fixture
def assignment(trial: Callable[..., TrialResult], tmp_path: Path) -> Assignment:
    return Assignment(trial=trial("0000"), run=tmp_path / "run", cache=tmp_path, resources=Resources())


def ends(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not lives(pid)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_workers_without_torch_fork_ranks_with_it_from_one_server(
    workers: Callable[[], Any], assignment: Assignment
) -> None:
    first, second = workers(), workers()
    ranks = [ray.get(worker.pids.remote())[1] for worker in (first, second)]
    assert len({psutil.Process(rank).ppid() for rank in ranks}) == 1
    assert len(set(ranks)) == 2
    assert ray.get(first.call.remote("begin", assignment, 0)) == ()
    (report, over) = [ray.get(first.call.remote("advance", None)) for _ in range(2)]
    assert report.metrics == {"torch": 1, "omp": 1}, "Ray gives a worker one thread per core that it has"
    assert over is None
    assert not ray.get(first.has_torch.remote())


def test_a_worker_dies_with_its_rank(workers: Callable[[], Any], assignment: Assignment) -> None:
    crashing = assignment.model_copy(update={"trial": assignment.trial.model_copy(update={"trial_id": "crash"})})
    worker, other = workers(), workers()
    pid, _ = ray.get(worker.pids.remote())
    _, others = ray.get(other.pids.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(worker.call.remote("begin", crashing, 0))
    assert ends(pid)
    assert lives(others)
    log = crashing.run_folder.log("crash").read_text()
    assert "Fatal Python error: Segmentation fault" in log, "the traceback of the rank is in the log of the trial"


def test_a_rank_dies_with_its_worker(workers: Callable[[], Any]) -> None:
    worker = workers()
    _, rank = ray.get(worker.pids.remote())
    ray.kill(worker)
    assert ends(rank)


def test_a_rank_that_is_dismissed_dies_alone(workers: Callable[[], Any]) -> None:
    worker = workers()
    pid, rank = ray.get(worker.pids.remote())
    ray.get(worker.call.remote("dismiss"))
    assert ends(rank)
    assert lives(pid)


def test_an_error_of_a_rank_is_one_of_the_call(workers: Callable[[], Any]) -> None:
    worker = workers()
    with pytest.raises(RuntimeError, match="AssertionError"):
        ray.get(worker.call.remote("advance", None))
    ray.get(worker.call.remote("end"))


def test_a_new_server_follows_one_that_was_killed(workers: Callable[[], Any]) -> None:
    worker = workers()
    pid, rank = ray.get(worker.pids.remote())
    server = psutil.Process(rank).ppid()
    os.kill(server, signal.SIGKILL)
    assert ends(rank)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(worker.call.remote("end"))
    assert ends(pid)
    _, rank = ray.get(workers().pids.remote())
    assert psutil.Process(rank).ppid() != server

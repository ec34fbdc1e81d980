"""Gangs of real processes on a real Ray, whose ranks do what a trial should not: raise, hang, fall silent, die."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import ray
from ray.util.placement_group import PlacementGroup

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Resources, Wandb
from orchestrator.tuner.tuner import placement
from orchestrator.worker import worker_group
from orchestrator.worker.assignment import Assignment, EndKind, TrialEnd
from orchestrator.worker.worker_group import TrialEnded, WorkerGroup, WorkerLost
from search_spaces.errors import OutOfMemory, StorageFailed, TrialFailed
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

# The ranks do not find this module where they would look for it.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


pytestmark = pytest.mark.seconds(60)

COLLECTIVE_TIMEOUT = 10.0


@pytest.fixture(scope="module")
def group(ray_here: None, request: pytest.FixtureRequest) -> Iterator[PlacementGroup]:
    """The placement group of a trial with two workers, or as many as the test asks for."""
    group = placement(Resources(workers=getattr(request, "param", 2), epoch_timeout=1)).to_placement_group()
    ray.get(group.ready())
    yield group
    ray.util.remove_placement_group(group)


@pytest.fixture(scope="module")
def workers(group: PlacementGroup) -> Iterator[WorkerGroup]:
    """Their ranks; what a test has killed, the next one starts anew."""
    workers = WorkerGroup(group, scripted, COLLECTIVE_TIMEOUT)
    yield workers
    workers.dismiss()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no other rank has anything left to say, there is nothing to wait for."""
    monkeypatch.setattr(worker_group, "SETTLE_SECONDS", 1.0)


@pytest.fixture
def assign(tmp_path: Path, trial: Callable[..., TrialResult]) -> Callable[..., Assignment]:
    """A trial whose name says what its ranks do in their second epoch."""

    def assignment(script: str, epoch_timeout: float | None = None) -> Assignment:
        return Assignment(
            trial=trial(script, [], Status.RUNNING, {"lr": 0.1}),
            sweep="s",
            run=tmp_path,
            cache=tmp_path,
            resources=Resources(workers=2, epoch_timeout=epoch_timeout),
            wandb=Wandb(mode="disabled"),
        )

    return assignment


def scripted(assignment: Assignment) -> tuple[tuple[EpochReport, ...], Iterator[EpochReport]]:
    """Three epochs, each with a sum over the ranks, in the second of which something happens."""
    import torch
    import torch.distributed as dist

    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)

    def act(script: str) -> None:
        match script:
            case "all raise":
                raise TrialFailed("loss must be finite")
            case "raise" if rank == 1:
                raise ValueError("only here")
            case "disk" if rank == 1:
                raise StorageFailed("the disk is full; free some space")
            case "memory" if rank == 1:
                raise OutOfMemory("a micro-batch must fit")
            case "die" if rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case "first dies" if rank == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            case "silent" if rank == ranks - 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            case "hang":
                time.sleep(1000)

    def epochs() -> Iterator[EpochReport]:
        for epoch in (1, 2, 3):
            if epoch == 2:
                act(assignment.trial.trial_id)
            total = torch.ones(())
            if dist.is_initialized():
                dist.all_reduce(total)
            metrics = {"ranks": total.item(), "pid": float(os.getpid())}
            yield EpochReport(epoch=epoch, metrics=metrics, seconds=0, checkpoint="last")

    done = EpochReport(epoch=1, metrics={}, seconds=0, checkpoint="last")
    return (done,) * rank if assignment.trial.trial_id == "apart" else (), epochs()


def test_epochs_are_those_of_all_ranks_which_stay_from_trial_to_trial(
    workers: WorkerGroup, assign: Callable[..., Assignment]
):
    first = list(workers.begin(assign("fine"))[1])
    assert [report.epoch for report in first] == [1, 2, 3]
    assert {report.metrics["ranks"] for report in first} == {2}
    stopped_early = workers.begin(assign("fine"))[1]
    assert next(stopped_early).metrics == first[0].metrics
    stopped_early.close()
    times = []
    for _ in range(5):
        started = time.monotonic()
        assert list(workers.begin(assign("fine"))[1]) == first
        times.append(time.monotonic() - started)
    assert min(times) < 0.2, "a whole trial, three epochs"


def test_ranks_that_fail_alike_end_the_trial_and_stay(
    workers: WorkerGroup, assign: Callable[..., Assignment], tmp_path: Path
):
    ranks = pids(workers, assign)
    assert ended(workers, assign("all raise")).kind is EndKind.FAILED
    assert pids(workers, assign) == ranks
    log = RunFolder(tmp_path).log("all raise").read_text()
    assert log.count("TrialFailed: loss must be finite") == 2
    assert "rank 0 of 2 on " in log
    assert "rank 1 of 2 on " in log


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ("raise", EndKind.FAILED, "ValueError: only here"),
        ("memory", EndKind.OUT_OF_MEMORY, "OutOfMemory: a micro-batch"),
    ],
)
def test_what_one_rank_raises_ends_the_trial(
    script: str, kind: EndKind, said: str, workers: WorkerGroup, assign: Callable[..., Assignment]
):
    before = pids(workers, assign)
    started = time.monotonic()
    end = ended(workers, assign(script))
    assert time.monotonic() - started < 10, "the other rank waits in vain, but nobody waits for it"
    assert end.kind is kind
    assert end.failure is not None
    assert end.failure.message.startswith(said)
    assert "in act" in end.failure.traceback
    assert not before & pids(workers, assign)
    assert_gone(before)


@pytest.mark.usefixtures("impatient")
def test_a_storage_that_fails_is_no_fault_of_the_trial(workers: WorkerGroup, assign: Callable[..., Assignment]):
    _, epochs = workers.begin(assign("disk"))
    with pytest.raises(StorageFailed, match=r"^the disk is full; free some space$"):
        list(epochs)


@pytest.mark.parametrize(("script", "number"), [("die", 1), ("first dies", 0)])
def test_a_rank_that_dies_is_a_fault_of_the_machine(
    script: str, number: int, workers: WorkerGroup, assign: Callable[..., Assignment]
):
    before = pids(workers, assign)
    epochs = workers.begin(assign(script))[1]
    next(epochs)
    started = time.monotonic()
    with pytest.raises(WorkerLost, match=f"^rank {number} of 2 has died: "):
        next(epochs)
    assert time.monotonic() - started < 10
    assert_gone(before)
    assert len(list(workers.begin(assign("fine"))[1])) == 3


def test_ranks_that_have_read_different_checkpoints_begin_again(
    workers: WorkerGroup, assign: Callable[..., Assignment]
):
    before = pids(workers, assign)
    with pytest.raises(WorkerLost, match=r"^all ranks must go on from one checkpoint, got .* the epochs \[0, 1\]$"):
        workers.begin(assign("apart"))
    assert_gone(before)


@pytest.mark.usefixtures("impatient")
def test_a_rank_that_is_silent_is_not_waited_for(workers: WorkerGroup, assign: Callable[..., Assignment]):
    before = pids(workers, assign)
    epochs = workers.begin(assign("silent"))[1]
    next(epochs)
    with pytest.raises(WorkerLost, match=r"^rank 1 of 2 is silent; the others have waited for it in vain$"):
        next(epochs)
    assert_gone(before)


@pytest.mark.parametrize("group", [1, 2], indirect=True)
@pytest.mark.parametrize("script", ["hang", "silent"])
def test_an_epoch_that_takes_too_long_ends_the_trial(
    script: str, workers: WorkerGroup, assign: Callable[..., Assignment], tmp_path: Path
):
    before = pids(workers, assign)
    end = ended(workers, assign(script, epoch_timeout=2.0))
    assert end.kind is EndKind.TIMED_OUT
    assert end.failure is not None
    assert end.failure.message.startswith("epoch 2 must end within 2 s (resources.epoch_timeout), but has not; ")
    assert_gone(before)
    if script == "hang":
        log = RunFolder(tmp_path).log("hang").read_text()
        stacks = log.split("Timeout (")[1:]
        assert len(stacks) == len(before)
        for stack in stacks:
            assert re.search(r"in act\n  File .* in epochs\n", stack), f"each says where it was, in one piece: {log}"


def ended(workers: WorkerGroup, assignment: Assignment) -> TrialEnd:
    epochs = workers.begin(assignment)[1]
    next(epochs)
    with pytest.raises(TrialEnded) as caught:
        next(epochs)
    return caught.value.end


def pids(workers: WorkerGroup, assign: Callable[..., Assignment]) -> set[int]:
    """The processes of the ranks, which a trial of theirs names in its log."""
    assignment = assign("fine")
    log = RunFolder(assignment.run).log("fine")
    log.unlink(missing_ok=True)
    assert len(list(workers.begin(assignment)[1])) == 3
    return {int(line.partition("[")[2].partition("]")[0]) for line in log.read_text().splitlines()}


def assert_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 15
    while alive := [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]:
        assert time.monotonic() < deadline, f"{alive} live on"
        time.sleep(0.1)

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
from orchestrator.cluster import runtime
from orchestrator.cluster.capacity import check_fit, fitting
from orchestrator.cluster.runtime import nodes_now
from orchestrator.spec.sections import Resources, Wandb
from orchestrator.tuner.tuner import placement
from orchestrator.worker.assignment import Assignment
from orchestrator.worker.worker_group import TrialEnded, WorkerGroup, WorkerLost
from search_spaces.errors import InvalidInput, OutOfMemory, StorageFailed, TrialFailed
from trainables.result import EpochReport, Status, TrialResult

# The ranks do not find this module where they would look for it.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[None]:
    """A Ray with two cores."""
    with runtime.connected(tmp_path_factory.mktemp("ray"), cpus=2):
        yield


@pytest.fixture
def group(cores: None, request: pytest.FixtureRequest) -> Iterator[PlacementGroup]:
    """The placement group of a trial with two workers, or as many as the test asks for."""
    group = placement(Resources(workers=getattr(request, "param", 2), epoch_timeout=1)).to_placement_group()
    ray.get(group.ready())
    yield group
    ray.util.remove_placement_group(group)


@pytest.fixture
def gang(group: PlacementGroup) -> Iterator[WorkerGroup]:
    gang = WorkerGroup(group, scripted, collective_timeout=20.0)
    yield gang
    gang.dismiss()


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

    return (), epochs()


def test_epochs_are_those_of_all_ranks_which_stay_from_trial_to_trial(
    gang: WorkerGroup, assign: Callable[..., Assignment]
):
    first = list(gang.begin(assign("fine"))[1])
    assert [report.epoch for report in first] == [1, 2, 3]
    assert {report.metrics["ranks"] for report in first} == {2}
    stopped_early = gang.begin(assign("fine"))[1]
    assert next(stopped_early).metrics == first[0].metrics
    stopped_early.close()
    times = []
    for _ in range(5):
        started = time.monotonic()
        assert list(gang.begin(assign("fine"))[1]) == first
        times.append(time.monotonic() - started)
    assert min(times) < 0.2, "a whole trial, three epochs"


def test_ranks_that_fail_alike_end_the_trial_and_stay(
    gang: WorkerGroup, assign: Callable[..., Assignment], tmp_path: Path
):
    ranks = pids(gang, assign)
    assert ended(gang, assign("all raise")).status is Status.FAILED
    assert pids(gang, assign) == ranks
    log = RunFolder(tmp_path).log("all raise").read_text()
    assert log.count("TrialFailed: loss must be finite") == 2
    assert "rank 0 of 2 on " in log
    assert "rank 1 of 2 on " in log


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [("raise", Status.FAILED, "ValueError: only here"), ("memory", Status.PRUNED_OOM, "OutOfMemory: a micro-batch")],
)
def test_what_one_rank_raises_ends_the_trial(
    script: str, status: Status, said: str, gang: WorkerGroup, assign: Callable[..., Assignment]
):
    before = pids(gang, assign)
    started = time.monotonic()
    end = ended(gang, assign(script))
    assert time.monotonic() - started < 10, "the other rank waits in vain, but nobody waits for it"
    assert end.status is status
    assert end.failure.message.startswith(said)
    assert "in act" in end.failure.traceback
    assert not before & pids(gang, assign)
    assert_gone(before)


def test_a_storage_that_fails_is_no_fault_of_the_trial(gang: WorkerGroup, assign: Callable[..., Assignment]):
    _, epochs = gang.begin(assign("disk"))
    with pytest.raises(StorageFailed, match=r"^the disk is full; free some space$"):
        list(epochs)


@pytest.mark.parametrize(("script", "number"), [("die", 1), ("first dies", 0)])
def test_a_rank_that_dies_is_a_fault_of_the_machine(
    script: str, number: int, gang: WorkerGroup, assign: Callable[..., Assignment]
):
    before = pids(gang, assign)
    epochs = gang.begin(assign(script))[1]
    next(epochs)
    started = time.monotonic()
    with pytest.raises(WorkerLost, match=f"^rank {number} of 2 has died: "):
        next(epochs)
    assert time.monotonic() - started < 10
    assert_gone(before)
    assert len(list(gang.begin(assign("fine"))[1])) == 3


def test_a_rank_that_is_silent_is_not_waited_for(group: PlacementGroup, assign: Callable[..., Assignment]):
    gang = WorkerGroup(group, scripted, collective_timeout=5.0)
    before = pids(gang, assign)
    epochs = gang.begin(assign("silent"))[1]
    next(epochs)
    with pytest.raises(WorkerLost, match=r"^rank 1 of 2 is silent; the others have waited for it in vain$"):
        next(epochs)
    assert_gone(before)
    gang.dismiss()


@pytest.mark.parametrize("group", [1, 2], indirect=True)
@pytest.mark.parametrize("script", ["hang", "silent"])
def test_an_epoch_that_takes_too_long_ends_the_trial(
    script: str, gang: WorkerGroup, assign: Callable[..., Assignment], tmp_path: Path
):
    before = pids(gang, assign)
    end = ended(gang, assign(script, epoch_timeout=2.0))
    assert end.status is Status.TIMED_OUT
    assert end.failure.message.startswith("epoch 2 must end within 2 s (resources.epoch_timeout), but has not; ")
    assert_gone(before)
    if script == "hang":
        log = RunFolder(tmp_path).log("hang").read_text()
        stacks = log.split("Timeout (")[1:]
        assert len(stacks) == len(before)
        for stack in stacks:
            assert re.search(r"in act\n  File .* in epochs\n", stack), f"each says where it was, in one piece: {log}"


def test_trials_are_counted_with_all_their_workers_and_refused_where_none_can_fit(cores: None):
    for size, fits in (({}, 2), ({"workers": 2}, 1), ({"cpus_per_worker": 2}, 1)):
        assert fitting(placement(Resources.model_validate(size)).bundles, nodes_now()) == fits
    for too_large in ({"workers": 3}, {"cpus_per_worker": 2.5}, {"gpus_per_worker": 1}):
        with pytest.raises(InvalidInput, match=r"^resources: a trial must fit on this machine, got "):
            check_fit(Resources.model_validate(too_large), grows=False)


def test_a_trial_reserves_what_its_workers_need_and_nothing_else():
    alone = placement(Resources(cpus_per_worker=2))
    assert (alone.bundles, alone.head_cpus) == ([{"CPU": 2}], 2)
    three = placement(Resources(workers=3, cpus_per_worker=2, placement="spread"))
    assert (three.bundles, three.head_cpus, three.strategy) == ([{"CPU": 2}] * 3, 0, "SPREAD")


def ended(gang: WorkerGroup, assignment: Assignment) -> TrialEnded:
    epochs = gang.begin(assignment)[1]
    next(epochs)
    with pytest.raises(TrialEnded) as caught:
        next(epochs)
    return caught.value


def pids(gang: WorkerGroup, assign: Callable[..., Assignment]) -> set[int]:
    """The processes of the ranks, which a trial of theirs names in its log."""
    assignment = assign("fine")
    log = RunFolder(assignment.run).log("fine")
    log.unlink(missing_ok=True)
    assert len(list(gang.begin(assignment)[1])) == 3
    return {int(line.partition("[")[2].partition("]")[0]) for line in log.read_text().splitlines()}


def assert_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 15
    while alive := [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]:
        assert time.monotonic() < deadline, f"{alive} live on"
        time.sleep(0.1)

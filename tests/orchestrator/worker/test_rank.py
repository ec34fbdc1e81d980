"""One rank in this process, without a process group. Groups of ranks are in `test_worker_group`."""

import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch.distributed import DistNetworkError

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Resources
from orchestrator.worker.assignment import Assignment, EndKind
from orchestrator.worker.rank import Rank, RankEnd, _loopback_interface, is_peer_lost
from orchestrator.worker.run_trial import StartedTrial
from search_spaces.errors import OutOfMemory, StorageFailed, TrialFailed
from trainables.result import EpochReport, TrialResult

GLOO = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:525] Connection closed by peer [127.0.0.1]:1234")


@pytest.fixture
def assignment(trial: Callable[..., TrialResult], tmp_path: Path) -> Assignment:
    resources = Resources(workers=2)
    return Assignment(trial=trial("0000"), run=tmp_path / "run", cache=tmp_path / "cache", resources=resources)


def report(epoch: int) -> EpochReport:
    return EpochReport(epoch=epoch, metrics={"val/macro_f1": 0.5}, seconds=1.0, checkpoint="best")


def starting(*steps: EpochReport | Exception) -> Callable[[Assignment], StartedTrial]:
    """Begins a trial that has one epoch already, and then gives or raises `steps`."""

    def epochs() -> Iterator[EpochReport]:
        for step in steps:
            if isinstance(step, Exception):
                raise step
            logging.getLogger("trainables").info("epoch %d is trained", step.epoch)
            yield step

    return lambda assignment: ((report(1),), epochs())


def test_a_trial_is_begun_advanced_and_ended(assignment: Assignment) -> None:
    actor, handlers = Rank(starting(report(2), report(3))), logging.getLogger().handlers[:]
    assert actor.begin(assignment, 1) == (report(1),)
    assert [actor.advance(None), actor.advance(60.0), actor.advance(None)] == [report(2), report(3), None]
    actor.end()
    actor.end()
    log = RunFolder(assignment.run).log("0000").read_text()
    assert "rank 1 of 2 on " in log
    assert "epoch 3 is trained" in log
    assert logging.getLogger().handlers == handlers


def test_a_log_may_be_open_before_the_trial_begins(assignment: Assignment, tmp_path: Path) -> None:
    rank, path = Rank(starting(report(2))), RunFolder(assignment.run).log("0000")
    assert rank.open_log(path) is None
    logging.getLogger("trainables").warning("before it begins")
    rank.begin(assignment, 0)
    rank.advance(None)
    rank.end()
    lines = path.read_text().splitlines()
    assert [line.partition(": ")[2] for line in lines if "trainables" in line] == [
        "before it begins",
        "epoch 2 is trained",
    ]
    end = rank.open_log(Path("/dev/null") / "0000.log")
    assert isinstance(end, RankEnd)
    assert end.end.kind is EndKind.STORAGE_FAILED


def test_the_store_of_ranks_on_this_machine_is_out_of_reach_of_others() -> None:
    actor = Rank(starting())
    host, port = actor.offer("127.0.0.1", 10.0)
    listening = [found.laddr for found in psutil.Process().net_connections("inet") if found.status == "LISTEN"]
    assert (host, [each.ip for each in listening if each.port == port]) == ("127.0.0.1", ["127.0.0.1"])
    assert _loopback_interface() in psutil.net_if_addrs()


def test_the_next_trial_ends_the_one_before(assignment: Assignment) -> None:
    closed: list[bool] = []

    def begin(assignment: Assignment) -> StartedTrial:
        def epochs() -> Iterator[EpochReport]:
            try:
                yield report(1)
            finally:
                closed.append(True)

        return (), epochs()

    actor = Rank(begin)
    actor.begin(assignment, 0)
    actor.advance(None)
    actor.begin(assignment, 0)
    assert closed == [True]
    actor.end()


@pytest.mark.parametrize(
    ("error", "kind", "message", "peer_lost"),
    [
        (TrialFailed("loss must be finite"), EndKind.FAILED, "TrialFailed: loss must be finite", False),
        (OutOfMemory("a batch must fit"), EndKind.OUT_OF_MEMORY, "OutOfMemory: a batch must fit", False),
        (StorageFailed("runs: disk is full"), EndKind.STORAGE_FAILED, "runs: disk is full", False),
        (OSError(errno.ENOSPC, "No space"), EndKind.STORAGE_FAILED, "[Errno 28] No space", False),
        (GLOO, EndKind.FAILED, f"RuntimeError: {GLOO}", True),
    ],
)
def test_an_error_is_the_end_of_the_trial_for_its_group_to_weigh(
    error: Exception, kind: EndKind, message: str, peer_lost: bool, assignment: Assignment
) -> None:
    actor = Rank(starting(error))
    actor.begin(assignment, 0)
    end = actor.advance(60.0)
    actor.end()
    assert isinstance(end, RankEnd)
    assert end.end.failure is not None
    assert (end.end.kind, end.end.failure.message, end.peer_lost) == (kind, message, peer_lost)
    log = RunFolder(assignment.run).log("0000").read_text()
    assert str(error) in log
    assert ("Traceback" in log) == (not peer_lost), "the reason is in the log of the rank that was lost"


def test_a_trial_that_cannot_be_begun_has_ended(assignment: Assignment) -> None:
    def begin(assignment: Assignment) -> Any:
        raise TrialFailed("no such architecture")

    actor = Rank(begin)
    end = actor.begin(assignment, 0)
    actor.end()
    assert isinstance(end, RankEnd)
    assert end.end.kind is EndKind.FAILED


@pytest.mark.parametrize(
    ("error", "lost"),
    [(GLOO, True), (DistNetworkError("timed out"), True), (RuntimeError("CUDA error"), False), (OSError(), False)],
)
def test_the_loss_of_another_rank_differs_from_a_rank_s_own_errors(error: Exception, lost: bool) -> None:
    assert is_peer_lost(error) is lost

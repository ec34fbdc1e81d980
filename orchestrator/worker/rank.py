"""Rank: part of a trial in one process, be it the only one or one of several. It knows nothing of Ray."""

import faulthandler
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

from orchestrator.worker.assignment import Assignment, EndKind, TrialEnd
from orchestrator.worker.run_trial import StartedTrial, end_of, start_trial_log, stop_trial_log
from search_spaces.errors import StorageFailed
from trainables.result import EpochReport
from trainables.storage.place import disk_is_full

if TYPE_CHECKING:
    from torch._C._distributed_c10d import TCPStore

log = logging.getLogger("orchestrator")

# Address of a Ray of this machine alone.
_LOOPBACK = "127.0.0.1"

Begin = Callable[[Assignment], StartedTrial]


@dataclass(frozen=True)
class RankEnd:
    """RankEnd: answer of a rank after its part of the trial has raised an error."""

    end: TrialEnd
    """End of the whole trial, as far as this rank knows it."""

    peer_lost: bool
    """True where the error is only that another rank did not answer."""


class Rank:
    """Rank: runs its part of one trial after another; the process group lasts as long as the process."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._epochs: Iterator[EpochReport] | None = None
        self._store: TCPStore | None = None
        self._handler: logging.Handler | None = None
        self._dump: IO[str] | None = None
        self._path: Path | None = None

    def offer(self, host: str, patience: float) -> tuple[str, int]:
        """Open the store at which the ranks of a group meet; return its address and port. Called on rank 0 only.

        `host` is the address of this node, `patience` the number of seconds to wait for ranks there.
        """
        self._store = _own_store(host, patience)
        return host, self._store.port

    def join(self, rank: int, ranks: int, place: tuple[str, int], gpus: float, patience: float, timeout: float) -> None:
        """Enter the process group, once all ranks are there: NCCL where each rank has a GPU, else gloo.

        `timeout` is the number of seconds that a rank waits for another in a collective operation.
        """
        # The variables of torchrun, which Accelerate reads. Ray shows each rank its own GPU alone.
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        os.environ |= {"MASTER_ADDR": place[0], "MASTER_PORT": str(place[1])}
        if not gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # two ranks on one GPU that was not reserved would fail
        if place[0] == _LOOPBACK and (interface := _loopback_interface()) is not None:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)  # gloo would listen at the machine's name
        import torch.distributed as dist

        store = self._store or _store(*place, patience)
        store.set(f"here/{rank}", "")
        store.wait([f"here/{other}" for other in range(ranks)], timedelta(seconds=patience))
        wait = timedelta(seconds=timeout)
        dist.init_process_group("nccl" if gpus else "gloo", store=store, rank=rank, world_size=ranks, timeout=wait)

    def open_log(self, path: Path) -> RankEnd | None:
        """Write to the log of a trial from now on, also the traceback of a crash; return the trial's end on failure."""
        try:
            self._start_log(path)
        except Exception as error:
            return rank_end(error)
        return None

    def begin(self, assignment: Assignment, rank: int) -> tuple[EpochReport, ...] | RankEnd:
        """Take up a trial; return the epochs that its last checkpoint has, or the end of the trial."""
        path = assignment.run_folder.here(assignment.log)
        try:
            if self._epochs is not None or self._path != path:
                self._start_log(path)
            if assignment.resources.needs_worker_group:
                log.info("rank %d of %d on %s", rank, assignment.resources.workers, socket.gethostname())
            reports, self._epochs = self._begin(assignment)
        except Exception as error:
            return rank_end(error)
        return reports

    def advance(self, dump_after: float | None) -> EpochReport | RankEnd | None:
        """Run the next epoch; return None after the last. After `dump_after` seconds, log where it is stuck."""
        assert self._epochs is not None
        if dump_after is not None:
            faulthandler.dump_traceback_later(dump_after, file=self._dump)  # type: ignore[arg-type]
        try:
            return next(self._epochs, None)
        except Exception as error:
            return rank_end(error)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def end(self) -> None:
        """Release the resources of the last trial, where there was one."""
        if self._epochs is not None and hasattr(self._epochs, "close"):
            self._epochs.close()
        if self._handler is not None:
            stop_trial_log(self._handler)
        if self._dump is not None:
            self._dump.close()
        self._epochs = self._handler = self._dump = self._path = None

    def _start_log(self, path: Path) -> None:
        self.end()
        self._handler = start_trial_log(path)
        self._dump = path.open("a")
        self._path = path


def _own_store(host: str, patience: float) -> "TCPStore":
    """Open a store on this rank; by itself PyTorch would listen on every address of the machine."""
    if host != _LOOPBACK:
        return _store(host, 0, patience, is_master=True)
    listener = socket.create_server((host, 0))
    port = listener.getsockname()[1]
    return _store(host, port, patience, is_master=True, master_listen_fd=listener.detach())


def _store(host: str, port: int, patience: float, **master: Any) -> "TCPStore":
    import torch.distributed as dist

    # Without a number of ranks, since the master must report its port before the ranks connect.
    return dist.TCPStore(  # type: ignore[attr-defined]  # public, but its package does not say so
        host, port, wait_for_workers=False, timeout=timedelta(seconds=patience), **{"is_master": False, **master}
    )


def _loopback_interface() -> str | None:
    addresses = psutil.net_if_addrs().items()
    return next((name for name, found in addresses if any(each.address == _LOOPBACK for each in found)), None)


def rank_end(error: Exception) -> RankEnd:
    """Return the answer of a rank that has raised `error`, within its handler, and log the error."""
    end = end_of(error)
    assert end.failure is not None
    peer_lost = is_peer_lost(error)
    # The reason for the loss of the other rank is in that rank's own answer, or in its death.
    log.error("%s", end.failure.message if peer_lost else end.failure.traceback)
    storage_lost = isinstance(error, StorageFailed) or disk_is_full(error)
    if storage_lost:
        end = TrialEnd(kind=EndKind.STORAGE_FAILED, failure=end.failure.model_copy(update={"message": str(error)}))
    return RankEnd(end, peer_lost)


def is_peer_lost(error: Exception) -> bool:
    """Return whether an error means that another rank has died, or has not answered in time."""
    from torch.distributed import DistError

    # Gloo has no exception of its own; its messages name the file of its transport that raised them.
    return isinstance(error, DistError) or "gloo/transport" in str(error)

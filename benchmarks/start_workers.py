"""Workers of a sweep on one node, started one after another. Prints one line of JSON, a list entry per worker.

Each runs one epoch of a tiny trial. `seconds` are those from the creation of its actor until the trial can train, with
the imports; `own` is the memory, in MiB, that no other process has a part in, after the epoch. `total` is that of all
of them, with the process that they are forked from and what they share. The argument is `forked` or `imported`: whether
the process that trains is forked, as in a sweep, or imports all packages itself.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import ray

from orchestrator.cluster import runtime
from orchestrator.spec.sections import Resources
from orchestrator.worker import run_trial
from orchestrator.worker.assignment import Assignment
from orchestrator.worker.rank import Begin
from orchestrator.worker.trial_actor import TrialActor
from trainables.config import TrialConfig
from trainables.data.digits import write_digits
from trainables.result import TrialResult
from trainables.status import Status

WORKERS = 4


class Measured(TrialActor):
    """A worker that says when it is ready, and which processes it has."""

    def start(self) -> None:
        """Begin the trial."""
        self.epochs = self._begin()

    def pids(self) -> list[int]:
        """The processes of this worker."""
        import os

        return [os.getpid()] if self.process is None else [os.getpid(), self.process.pid]


class Importing(Measured):
    """The former worker: it trains in the process of the actor."""

    def _trainer(self) -> Begin:
        return run_trial.begin


def main() -> None:
    """Start the workers, and print what each of them took."""
    kind = Measured if sys.argv[1] == "forked" else Importing
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_digits(folder / "digits", dict.fromkeys(range(10), 0.06))
        with runtime.connected(folder, cpus=WORKERS):
            time.sleep(5)  # Ray starts its first processes
            started = [start(kind, folder, number) for number in range(WORKERS)]
            found = [{"seconds": seconds, "own": own_mib(pids)} for seconds, pids, _ in started]
            total = total_mib([pids for _, pids, _ in started])
    last = found[-1]
    print(json.dumps({"workers": found, "seconds": last["seconds"], "own": last["own"], "total": total}))


def start(kind: type[Measured], folder: Path, number: int) -> tuple[float, list[int], Any]:
    """Start one worker and let it train; returns the seconds until it could, its processes and its actor."""
    config = {"architecture": "test_efficientnet", "weights": "none", "strategy": "full", "epochs": 2, "lr": 1e-3}
    data = {"root": folder / "digits", "image_size": 32, "resize_mode": "squash"}
    trial = TrialResult(
        trial_id=f"{number:04}",
        config=TrialConfig.model_validate({**config, "data": data}),
        parameters={},
        status=Status.RUNNING,
    )
    assignment = Assignment(trial=trial, run=folder / "run", cache=folder / "cache", resources=Resources())
    before = time.perf_counter()
    actor = ray.remote(kind).options(num_cpus=1).remote(assignment.to_tune())  # type: ignore[attr-defined]
    ray.get(actor.start.remote())
    seconds = time.perf_counter() - before
    ray.get(actor.step.remote())
    return seconds, ray.get(actor.pids.remote()), actor


def own_mib(pids: list[int]) -> float:
    """The memory that only these processes have, in MiB."""
    return sum(psutil.Process(pid).memory_full_info().uss for pid in pids) / 2**20


def total_mib(workers: list[list[int]]) -> float:
    """The memory of all these processes and of the server of those that are forked, in MiB; shared parts count once."""
    servers = {psutil.Process(forked).ppid() for _, *rest in workers for forked in rest}
    pids = servers.union(*workers)
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / 2**20


if __name__ == "__main__":
    main()

import os
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from typing import NoReturn

import pytest
import ray

from orchestrator.spec.sections import Resources
from orchestrator.worker import node_runner
from orchestrator.worker.node_runner import NodeRunner
from search_spaces.errors import InvalidInput

pytestmark = [pytest.mark.seconds(15), pytest.mark.usefixtures("ray_here")]


def test_a_node_runs_calls_in_processes_of_their_own() -> None:
    def identify() -> int:
        return os.getpid()

    def refuse(text: str) -> NoReturn:
        raise InvalidInput(text)

    runner = NodeRunner("json", Resources())
    assert (runner.machine.cores, runner.machine.gpus) == (2, 0)
    assert len(runner.nodes) == 1
    assert runner.imports > 0
    assert len({identify(), runner(identify), runner(identify)}) == 3
    with pytest.raises(InvalidInput, match=r"^batch_size must be smaller$"):
        runner(refuse, "batch_size must be smaller")
    with pytest.raises(BrokenProcessPool):
        runner(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_a_node_that_cannot_run_trials_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"worker of a trial \(1 CPU and 1 GPU\), got 2 CPU and 0 GPU; start such a"):
        NodeRunner("json", Resources(gpus_per_worker=1))
    with pytest.raises(InvalidInput, match=r"must be able to run trials, got .*no_such_module.*`thaw doctor"):
        NodeRunner("no_such_module", Resources())


def test_a_node_whose_room_is_taken_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_runner, "TIMEOUT", 1.0)
    busy = ray.remote(num_cpus=2)(lambda: time.sleep(60)).remote()
    try:
        with pytest.raises(InvalidInput, match=r"must have 1 CPU and 0 GPU free, got nothing free within 1 s"):
            NodeRunner("json", Resources())
    finally:
        ray.cancel(busy, force=True)

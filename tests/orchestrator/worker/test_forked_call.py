"""Calls that tasks of a real Ray make in processes forked from a real server."""

import os
import pickle
import sys
from pathlib import Path

import psutil
import pytest
import ray

from orchestrator.worker.forked_call import call_forked
from search_spaces.errors import InvalidInput
from trainables.checkpoint_state import CheckpointState
from trainables.storage.folders import cache_folder

pytestmark = pytest.mark.seconds(30)


@pytest.mark.usefixtures("ray_here")
@pytest.mark.skipif(sys.platform != "linux", reason="only there is a process forked")
def test_a_function_runs_in_another_process_than_its_worker() -> None:
    call = ray.remote(call_forked).options(num_cpus=0)
    server = pickle.loads(ray.get(call.remote(pickle.dumps((os.getppid, ())))))
    assert "orchestrator.worker.fork_server" in psutil.Process(server).cmdline()


@pytest.mark.usefixtures("ray_here")
def test_an_error_of_ours_keeps_its_class(tmp_path: Path) -> None:
    with pytest.raises(ray.exceptions.RayTaskError) as raised:
        ray.get(ray.remote(call_forked).options(num_cpus=0).remote(pickle.dumps((CheckpointState.read, (tmp_path,)))))
    assert isinstance(raised.value.cause, InvalidInput)
    assert str(raised.value.cause).startswith("checkpoint must be a folder written by Thaw")


def test_without_a_worker_it_is_a_plain_call(tmp_path: Path) -> None:
    assert pickle.loads(call_forked(pickle.dumps((cache_folder, (tmp_path,))))) == cache_folder(tmp_path)

"""A cluster that starts with nothing and adds nodes for what waits: Ray's autoscaler, with raylets for machines."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.result import Status

pytestmark = pytest.mark.soak

HEAD = "f" * 51 + "00000"
MOST = 2


@pytest.fixture
def scaling(tmp_path: Path, cache_dir: Path) -> Iterator[dict[str, str]]:
    """The environment of a cluster that has a head without CPUs, and may have two workers of one CPU."""
    types = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": MOST},
    }
    empty = ("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands")
    config = {
        "cluster_name": "scaling",
        "max_workers": MOST,
        "idle_timeout_minutes": 5,
        "upscaling_speed": 1.0,
        "provider": {"type": "fake_multinode", "launch_multiple": True, "head_node_id": HEAD},
        "available_node_types": types,
        "head_node_type": "ray.head.default",
        "auth": {},
        "file_mounts": {},
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
        **{key: [] for key in empty},
    }
    (tmp_path / "cluster.json").write_text(json.dumps(config))
    folder = tempfile.mkdtemp(prefix="ray")  # short: sockets lie below it
    environment = {
        "RAY_TMPDIR": folder,
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    }
    ray = str(Path(sys.executable).with_name("ray"))
    arguments = ["--head", "--num-cpus=0", "--port=0", f"--autoscaling-config={tmp_path / 'cluster.json'}"]
    with (tmp_path / "head.log").open("w") as log:
        head = subprocess.Popen(
            [ray, "start", "--block", "--disable-usage-stats", "--include-dashboard=false", *arguments],
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            cwd="/",
        )
    try:
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in (tmp_path / "head.log").read_text():
            assert head.poll() is None and time.monotonic() < deadline, (tmp_path / "head.log").read_text()
            time.sleep(0.2)
        yield {"RAY_TMPDIR": folder, "RAY_ADDRESS": Path(folder, "ray", "ray_current_cluster").read_text().strip()}
    finally:
        workers = [process for process in psutil.process_iter() if folder in command(process)]
        head.terminate()
        head.wait(60)
        for process in workers:  # the raylets that the autoscaler started outlive it for a while
            if process.is_running():
                process.kill()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("concurrent", ["auto", MOST])
def test_a_sweep_waits_for_nodes_and_makes_them_come(
    concurrent: object,
    scaling: dict[str, str],
    write_sweep: Callable[..., Path],
    thaw: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
):
    file = write_sweep(tmp_path, search={"trials": 6, "sampler": "random"}, resources={"concurrent": concurrent})
    ended = thaw("sweep", file, "--quiet", cwd=tmp_path, **scaling)
    assert ended.returncode == 0, ended.stderr
    assert "no node has room for a trial (1 CPU and 0 GPU) yet: waiting for one that has" in ended.stderr
    run = RunFolder(tmp_path / "runs" / "sweep")
    trials = Ledger(run).trials()
    assert [trial.status for trial in trials] == [Status.COMPLETED] * 6
    workers = {line.split("[")[1].split("]")[0] for log in run.log("0").parent.glob("0*.log") for line in log.open()}
    assert len(workers) == MOST, "as many processes as nodes may come, and all of them used"


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""

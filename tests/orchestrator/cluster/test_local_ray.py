"""Starts of a real Ray, each in a process of its own."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.seconds(30)

START = """
import logging
from pathlib import Path
import psutil
import orchestrator
from orchestrator.cluster import local_ray, runtime
from search_spaces.errors import ThawError

logging.basicConfig(level=logging.WARNING, format="%(message)s")
{before}
try:
    with runtime.connected(Path.cwd(), cpus=2):
        {inside}
except ThawError as error:
    print("error:", error)
"""

# Ray's server dies at once, as on a machine without memory; `repair` gives the next attempt the real one.
BROKEN = """
import os, types
from ray._private import services
real, services.GCS_SERVER_EXECUTABLE = services.GCS_SERVER_EXECUTABLE, "/bin/false"
os.environ["RAY_gcs_server_port_wait_time_s"] = "1"
def repair():
    services.GCS_SERVER_EXECUTABLE = real
    os.environ["RAY_gcs_server_port_wait_time_s"] = "60"
local_ray.time = types.SimpleNamespace(sleep=lambda _: {between})
"""

LISTEN = """
import ray
@ray.remote
def work():
    return 1
ray.get(work.remote())
me = psutil.Process()
for process in (me, *me.children(recursive=True)):
    print("runs", *process.cmdline())
    for connection in process.net_connections("inet"):
        if connection.status == psutil.CONN_LISTEN:
            print("listens", connection.laddr.ip)
node = ray._private.worker._global_node
session = Path(node.get_session_dir_path())
for folder in (session, session.parent, session.parent.parent):
    print("folder", oct(folder.stat().st_mode & 0o777))
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Starts Ray in a new process, from an empty folder."""

    def run(before: str = "", inside: str = "print('up')", **environment: str) -> subprocess.CompletedProcess[str]:
        code = START.format(before=before, inside=inside.strip().replace("\n", "\n        "))
        variables = {**os.environ, **environment}
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=tmp_path, env=variables, timeout=200
        )

    return run


def test_few_servers_start_none_listens_beyond_this_machine_and_the_session_is_private(
    start: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    lines = start(inside=LISTEN).stdout.splitlines()
    listening = {line.split()[1] for line in lines if line.startswith("listens")}
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert sum(line.startswith("listens") for line in lines) >= 3, "servers of Ray were looked at"
    running = [line for line in lines if line.startswith("runs")]
    assert any("/gcs_server" in line for line in running)
    # The command lines of a full Ray, e.g. of `ray start --head`, have these.
    assert not [line for line in running if re.search(r"log_monitor\.py|dashboard/dashboard\.py|monitor\.py", line)]
    assert [line for line in lines if line.startswith("folder")] == ["folder 0o700"] * 3


def test_a_start_that_fails_is_tried_again(start: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = start(BROKEN.format(between="repair()"))
    assert done.stdout.splitlines() == ["up"]
    assert "Ray did not start, attempt 1 of 3: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_last_failure_names_the_cause_and_only_what_exists(
    start: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = start(BROKEN.format(between="None"))
    (line,) = done.stdout.splitlines()
    found = re.match(
        r"error: Ray must start on this machine, got, at the last of 3 attempts: .+ Its logs are in (\S+);", line
    )
    assert found is not None, line
    assert Path(found[1]).is_dir()
    assert stat.S_IMODE(Path(found[1]).parent.stat().st_mode) == 0o700
    assert line.endswith("; run the command again")
    assert "thaw resume" not in line
    assert "Traceback" not in done.stderr
    (tmp_path / "run.json").touch()
    done = start("local_ray.ATTEMPTS = 1\n" + BROKEN.format(between="None"))
    assert done.stdout.rstrip().endswith(f"; continue the run with `thaw resume {tmp_path}`")


def test_a_disk_that_is_full(
    start: Callable[..., subprocess.CompletedProcess[str]],
    small_disk: tuple[Path, Callable[[int], None]],
) -> None:
    disk, _ = small_disk
    # A path of pytest's is too long for Ray's sockets.
    short = Path(f"/tmp/small-{os.getpid()}")
    short.symlink_to(disk)
    try:
        done = start(RAY_TMPDIR=str(short))
    finally:
        short.unlink()
    assert re.match(rf"error: {short}/thaw-\d+: Ray's files need 16 MiB, got (0|1)\.\d MiB on that disk;", done.stdout)
    assert "Traceback" not in done.stderr

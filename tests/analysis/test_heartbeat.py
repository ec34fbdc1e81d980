import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from analysis.heartbeat import Heartbeat, beat, clear, is_alive, read
from analysis.ledger import write_record
from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to tell when a process started")
HOUR = timedelta(hours=1)
DRIVER = """
import sys, time
from pathlib import Path
from analysis.heartbeat import beat
from analysis.run_folder import RunFolder
beat(RunFolder(Path(sys.argv[1])))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def edit(run: RunFolder, **changes: object) -> None:
    now = read(run)
    assert now is not None
    write_record(run.heartbeat, now.model_copy(update=changes))


def test_beat_read_clear(run: RunFolder) -> None:
    assert read(run) is None
    assert not is_alive(run)
    written = beat(run)
    assert read(run) == written
    assert written.pid == os.getpid()
    assert written.started <= written.beat <= datetime.now(UTC)
    assert is_alive(run)
    clear(run)
    clear(run)
    assert read(run) is None
    assert not is_alive(run)


def test_fields_are_frozen() -> None:
    assert list(Heartbeat.model_fields) == ["pid", "host", "started", "beat"]


def test_beats_of_one_process_agree_on_its_start(run: RunFolder) -> None:
    first = beat(run)
    time.sleep(0.01)
    second = beat(run)
    assert abs(first.started - second.started) <= timedelta(seconds=2)
    assert second.beat > first.beat


@pytest.fixture
def driver(run: RunFolder) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", DRIVER, str(run.root)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def test_a_killed_driver_is_dead_at_once(run: RunFolder, driver: subprocess.Popen[bytes]) -> None:
    assert is_alive(run)
    driver.kill()
    driver.wait()
    assert not is_alive(run)


@linux
def test_a_killed_driver_is_dead_before_its_parent_notices(run: RunFolder, driver: subprocess.Popen[bytes]) -> None:
    driver.kill()
    deadline = time.monotonic() + 5
    while is_alive(run) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(driver.pid, 0)  # nobody has waited for the process: its id is still taken
    assert not is_alive(run)


@linux
def test_a_pid_used_again_is_not_the_driver(run: RunFolder) -> None:
    beat(run)
    edit(run, started=beat(run).started - HOUR)
    assert not is_alive(run)


@linux
def test_a_slow_driver_is_alive(run: RunFolder) -> None:
    beat(run)
    edit(run, beat=datetime.now(UTC) - HOUR)
    assert is_alive(run)


def test_of_a_process_that_may_not_be_looked_at_the_beat_decides(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(self: psutil.Process) -> str:
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "status", deny)
    beat(run)
    assert is_alive(run)
    edit(run, beat=datetime.now(UTC) - HOUR)
    assert not is_alive(run)


def test_on_another_host_the_beat_decides(run: RunFolder) -> None:
    beat(run)
    edit(run, host="elsewhere.example", pid=2**31 - 1)
    assert is_alive(run)
    edit(run, beat=datetime.now(UTC) - timedelta(seconds=61))
    assert not is_alive(run)
    assert is_alive(run, stale_after=120)


def test_start_is_that_of_the_process(run: RunFolder) -> None:
    before = datetime.now(UTC)
    code = DRIVER.replace("time.sleep(600)", "")
    subprocess.run([sys.executable, "-c", code, str(run.root)], check=True, stdout=subprocess.DEVNULL)
    found = read(run)
    assert found is not None
    assert timedelta(seconds=-2) <= found.started - before < timedelta(seconds=5)
    assert found.started <= found.beat + timedelta(seconds=1)
    assert not is_alive(run)


def test_damaged_file_is_named(run: RunFolder) -> None:
    run.heartbeat.write_text("{")
    with pytest.raises(InvalidInput, match=r"driver\.json: a record must be JSON"):
        is_alive(run)
    run.heartbeat.write_text('{"pid": 0, "host": "h"}')
    with pytest.raises(InvalidInput, match=r"driver\.json: pid: .*greater than or equal to 1"):
        read(run)

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from analysis import heartbeat
from analysis.claim import Claim, claim_run
from analysis.heartbeat import Heartbeat, Presence, is_alive, is_silent, read
from analysis.ledger import write_record
from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc that has the start of a process")
DRIVER = """
import sys, time
from pathlib import Path
from analysis.claim import claim_run
from analysis.run_folder import RunFolder
claim = claim_run(RunFolder(Path(sys.argv[1])), None)
print("ready", flush=True)
while True:
    time.sleep(float(sys.argv[2]))
    claim.beat()
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.fixture
def claim(run: RunFolder) -> Claim:
    """A claim of this process."""
    claim = claim_run(run, None)
    assert claim is not None
    return claim


@pytest.fixture
def edit(claim: Claim) -> Callable[..., Heartbeat]:
    """Changes the heartbeat on the disk, as another machine would have written it."""

    def change(**changes: object) -> Heartbeat:
        now = read(claim.run.root)
        assert now is not None
        write_record(claim.run.heartbeat, now.model_copy(update=changes))
        edited = read(claim.run.root)
        assert edited is not None
        return edited

    return change


@pytest.fixture
def driver(run: RunFolder) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that drives the run, with ten heartbeats per second."""
    command = [sys.executable, "-c", DRIVER, str(run.root), "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def test_a_run_without_driver(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert read(tmp_path / "missing") is None
    assert not is_alive(tmp_path)


def test_a_heartbeat_names_its_process(claim: Claim) -> None:
    found = read(claim.run.root)
    assert found is not None
    assert (found.pid, found.driver, found.beats, found.ended) == (os.getpid(), 1, 0, False)
    assert found.who == f"process {os.getpid()} on {found.host}"
    assert abs(found.started.timestamp() - psutil.Process().create_time()) < 2
    assert found.presence() is Presence.THERE
    assert is_alive(claim.run.root)
    claim.beat()
    later = read(claim.run.root)
    assert later is not None
    assert (later.beats, later.since_boot, later.key) == (1, found.since_boot, found.key)


def test_a_driver_that_has_ended_is_over_at_once_everywhere(claim: Claim, edit: Callable[..., Heartbeat]) -> None:
    claim.end()
    assert not is_alive(claim.run.root)
    assert edit(host="elsewhere.example").is_over


def test_a_killed_driver_is_dead_at_once(run: RunFolder, driver: subprocess.Popen[bytes]) -> None:
    assert is_alive(run.root)
    driver.kill()
    driver.wait()
    assert not is_alive(run.root)


@linux
def test_a_killed_driver_is_dead_before_its_parent_notices(run: RunFolder, driver: subprocess.Popen[bytes]) -> None:
    driver.kill()
    deadline = time.monotonic() + 30
    while is_alive(run.root) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(driver.pid, 0)  # nobody has waited for the process: its id is still taken
    assert not is_alive(run.root)


@linux
def test_a_process_id_used_again_is_not_the_driver(edit: Callable[..., Heartbeat]) -> None:
    found = edit()
    assert found.since_boot is not None
    assert edit(since_boot=found.since_boot - 1).presence() is Presence.GONE


@linux
@pytest.mark.parametrize("other", [{"host": "elsewhere.example"}, {"boot": "another"}, {"pid_namespace": "pid:[1]"}])
def test_a_process_of_another_machine_start_or_namespace_cannot_be_known(
    other: dict[str, str], edit: Callable[..., Heartbeat]
) -> None:
    assert edit(**other, pid=2**31 - 1).presence() is Presence.UNKNOWN


def test_a_process_that_may_not_be_inspected_cannot_be_known(
    edit: Callable[..., Heartbeat], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(self: psutil.Process) -> str:
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "status", deny)
    assert edit().presence() is Presence.UNKNOWN


def test_a_heartbeat_of_an_earlier_version_cannot_be_known(run: RunFolder) -> None:
    now = datetime.now(UTC).isoformat()
    run.heartbeat.write_text(f'{{"pid": {os.getpid()}, "host": "h", "started": "{now}", "beat": "{now}"}}')
    found = read(run.root)
    assert found is not None
    assert (found.driver, found.presence()) == (1, Presence.UNKNOWN)


@pytest.mark.parametrize("shift", [timedelta(hours=-1), timedelta(0), timedelta(hours=1), timedelta(days=9000)])
def test_the_time_of_a_beat_decides_nothing(
    shift: timedelta, claim: Claim, edit: Callable[..., Heartbeat], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "_POLL_SECONDS", 0.05)
    still = edit(host="elsewhere.example", beat=datetime.now(UTC) + shift)
    assert is_silent(claim.run.root, still, patience=0.3)
    assert not is_alive(claim.run.root, patience=0.3)


@pytest.mark.parametrize("shift", [timedelta(hours=-1), timedelta(hours=1)])
def test_a_change_is_life_wherever_its_clock_stands(
    shift: timedelta, run: RunFolder, driver: subprocess.Popen[bytes]
) -> None:
    last = read(run.root)
    assert last is not None
    assert not is_silent(run.root, last.model_copy(update={"host": "elsewhere.example", "beat": last.beat + shift}))


def test_a_stopped_driver_is_silent_and_one_that_dies_meanwhile_too(
    run: RunFolder, driver: subprocess.Popen[bytes]
) -> None:
    os.kill(driver.pid, signal.SIGSTOP)
    time.sleep(0.3)
    last = read(run.root)
    assert last is not None
    assert last.presence() is Presence.THERE
    assert is_silent(run.root, last, patience=1)
    driver.kill()
    begun = time.monotonic()
    assert is_silent(run.root, last, patience=60)
    assert time.monotonic() - begun < 30


def test_a_newer_driver_is_life(claim: Claim, edit: Callable[..., Heartbeat]) -> None:
    still = edit(host="elsewhere.example")
    assert claim_run(claim.run, still) is not None
    assert not is_silent(claim.run.root, still, patience=2)


def test_damaged_file_is_named(run: RunFolder) -> None:
    run.heartbeat.write_text("{")
    with pytest.raises(InvalidInput, match=r"driver\.json: a record must be JSON, got: .*; restore the file"):
        is_alive(run.root)
    run.heartbeat.write_text('{"pid": 0, "host": "h"}')
    with pytest.raises(InvalidInput, match=r"driver\.json: pid: .*greater than or equal to 1"):
        read(run.root)


def test_fields_are_frozen() -> None:
    assert list(Heartbeat.model_fields) == [
        "driver", "generations", "key", "pid", "host", "boot", "pid_namespace", "since_boot", "root", "started", "beat",
        "beats", "ended",
    ]  # fmt: skip

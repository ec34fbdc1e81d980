"""Drivers that meet: two commands at once, a driver that sleeps, one in another namespace, clocks that differ."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driver_faults import Family, check_whole

from analysis import heartbeat
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run

pytestmark = [pytest.mark.soak, pytest.mark.seconds(390)]

Start = Callable[..., subprocess.Popen[str]]

# `make faults` sets the seed and the number of pairs.
SEED, _, PAIRS = os.environ.get("THAW_FAULTS", "0/2").partition("/")
AT_ONCE = ("sweep/sweep", "resume/resume", "sweep/stop", "extend/resume", "extend/extend", "resume/stop", "stop/stop")
TRIALS, EPOCHS, LONG = 3, 12, 80


@pytest.fixture
def file(write_sweep: Callable[..., Path], tmp_path: Path) -> Path:
    """A sweep whose result depends on nothing but its file."""
    points = [{"lr": lr} for lr in (1e-3, 2e-3, 4e-3)]
    return write_sweep(
        tmp_path,
        trial={"architecture": "test_efficientnet", "strategy": "full", "epochs": EPOCHS},
        search={"trials": TRIALS, "points": points},
        resources={"concurrent": 1},
    )


def pairs() -> list[Any]:
    """Pairs of commands, and the seconds between them: half of them start within 0.1 s."""
    rng = random.Random(SEED)
    return [
        pytest.param(kind, rng.uniform(0, 0.1) if number % 2 else rng.uniform(0.1, 3), id=f"{kind}-{number}")
        for number in range(int(PAIRS))
        for kind in [AT_ONCE[number % len(AT_ONCE)]]
    ]


@pytest.mark.parametrize(("kind", "offset"), pairs())
def test_two_commands_at_once(kind: str, offset: float, file: Path, start_thaw: Start, tmp_path: Path) -> None:
    root = tmp_path / "runs" / "sweep"
    names = kind.split("/")
    trials = TRIALS
    if "sweep" not in names:
        driver = begun(start_thaw, file, root, stays="resume" not in names and "extend" not in names)
    words = {
        "sweep": ("sweep", file, "--quiet"),
        "resume": ("resume", root, "--quiet"),
        "extend": ("extend", root, "--trials", 1, "--quiet"),
        "stop": ("stop", root),
    }
    processes = []
    for name in names:
        processes.append(start_thaw(*words[name], cwd=tmp_path))
        time.sleep(offset if len(processes) == 1 else 0)
    ends = [(process.communicate(timeout=300), process.returncode) for process in processes]
    told = f"{kind}, {offset:.2f} s apart: {ends}"
    codes = [code for _, code in ends]
    assert not any("Traceback" in err for (_, err), _ in ends), told
    if "stop" in names:
        # Stopped, or refused because nothing runs yet, or no longer.
        assert set(codes) <= {0, 2, 130}, told
        if kind == "stop/stop":
            assert 0 in codes, told
            driver.communicate(timeout=60)
            assert driver.returncode == 130
        for (_, err), code in ends:
            assert code != 2 or "must be running to be stopped" in err or "a run must " in err, told
        return
    assert sorted(codes) == [0, 2], told
    loser = codes.index(2)
    winner = processes[1 - loser].pid
    assert f"process {winner} on {socket.gethostname()} drives it" in ends[loser][0][1], told
    trials += names[1 - loser] == "extend"
    check_whole(root, trials, EPOCHS)
    newest = heartbeat.read(root)
    assert newest is not None
    assert newest.pid == winner, told
    assert newest.driver == (1 if "sweep" in names else 2), "the loser has left a claim"


def begun(start_thaw: Start, file: Path, root: Path, *words: str, stays: bool) -> subprocess.Popen[str]:
    """Start a sweep and wait for its first epochs; unless it stays, kill it."""
    driver = start_thaw("sweep", file, "--quiet", *words, cwd=file.parent)
    wait_for(lambda: progress(root) >= 2, driver)
    if not stays:
        driver.kill()
        driver.communicate()
    return driver


def progress(root: Path) -> int:
    run = RunFolder(root)
    return sum(len(trial.reports) for trial in Ledger(run).trials()) if run.run_json.is_file() else 0


def wait_for(condition: Callable[[], bool], driver: subprocess.Popen[str], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def essence(root: Path) -> list[Any]:
    """Part of a run that is the same whatever happened to its drivers."""
    trials = Ledger(open_run(root)).trials()
    return [(t.trial_id, t.config, t.status, [(r.epoch, r.metrics, r.ended_by) for r in t.reports]) for t in trials]


def test_a_driver_that_sleeps_is_replaced_and_stops(file: Path, start_thaw: Start, tmp_path: Path) -> None:
    calm = start_thaw("sweep", file, "--name", "calm", "--quiet", cwd=tmp_path)
    calm.communicate(timeout=300)
    assert calm.returncode == 0
    root = tmp_path / "runs" / "sweep"
    old = begun(start_thaw, file, root, stays=True)
    family = Family(old)
    time.sleep(1)
    os.kill(old.pid, signal.SIGSTOP)
    workers = family.alive("Trainable")
    new = start_thaw("resume", root, cwd=tmp_path)
    wait_for(lambda: driver_number(root) == 2 and progress_of_second(root), new)
    woken = time.monotonic()
    os.kill(old.pid, signal.SIGCONT)
    _, err = old.communicate(timeout=120)
    seconds = time.monotonic() - woken
    assert old.returncode == 1, err
    assert f"process {new.pid} on {socket.gethostname()} drives the run now" in err
    assert "Traceback" not in err
    assert seconds < 15, f"{seconds:.1f} s until the old driver had stopped"
    assert workers
    assert family.left() == []
    _, err = new.communicate(timeout=300)
    assert new.returncode == 0, err
    assert f"process {old.pid} on " in err
    assert "waiting at most 50 s for its heartbeat" in err
    check_whole(root, TRIALS, EPOCHS)
    assert essence(root) == essence(tmp_path / "runs" / "calm")


def driver_number(root: Path) -> int:
    found = heartbeat.read(root)
    return 0 if found is None else found.driver


def progress_of_second(root: Path) -> bool:
    """Return whether the second driver has trained."""
    return any((root / "trials").glob("*.2.json"))


def test_a_driver_in_another_namespace(file: Path, start_thaw: Start, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-pf", "--mount-proc", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a PID namespace")
    root = tmp_path / "runs" / "sweep"
    inside = subprocess.Popen(
        [
            "unshare",
            "-pf",
            "--kill-child",
            "--mount-proc",
            shutil.which("env") or "env",
            *thaw_words("sweep", file, "--set", f"trial.epochs={LONG // 2}"),
        ],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200"},
    )
    family = Family(inside)  # type: ignore[arg-type]
    wait_for(lambda: progress(root) >= 1, inside)  # type: ignore[arg-type]
    refused = start_thaw("resume", root, cwd=tmp_path)
    _, err = refused.communicate(timeout=120)
    assert refused.returncode == 2, err
    assert "must have one driver" in err
    inside.kill()
    inside.wait()
    assert family.left() == []
    resumed = start_thaw("resume", root, cwd=tmp_path)
    _, err = resumed.communicate(timeout=400)
    assert resumed.returncode == 0, err
    assert "waiting at most 50 s for its heartbeat" in err
    check_whole(root, TRIALS, LONG // 2)


def thaw_words(*words: object) -> list[str]:
    return [str(Path(sys.executable).with_name("thaw")), *map(str, words), "--quiet"]


@pytest.mark.skipif(shutil.which("faketime") is None, reason="no faketime on this machine")
@pytest.mark.skipif("THAW_FAULTS" not in os.environ, reason="takes minutes: run by `make faults`")
@pytest.mark.parametrize("shift", ["-1h", "+1h"])
def test_clocks_that_differ(shift: str, file: Path, start_thaw: Start, tmp_path: Path) -> None:
    library = next(Path("/usr/lib").rglob("libfaketime.so.1"))
    fake = {"LD_PRELOAD": str(library), "FAKETIME": shift}
    root = tmp_path / "runs" / "sweep"
    driver = begun(start_thaw, file, root, "--set", f"trial.epochs={LONG}", stays=True)
    other = start_thaw("resume", root, cwd=tmp_path, **fake)
    _, err = other.communicate(timeout=120)
    assert other.returncode == 2, err
    assert "must have one driver" in err
    driver.kill()
    driver.communicate()
    other = start_thaw("resume", root, cwd=tmp_path, **fake)
    _, err = other.communicate(timeout=400)
    assert other.returncode == 0, err
    assert "watching" not in err, "the process is gone: that is known at once"
    check_whole(root, TRIALS, LONG)


def test_a_sweep_that_is_killed_before_its_first_record_starts_again(
    file: Path, start_thaw: Start, tmp_path: Path
) -> None:
    root = tmp_path / "runs" / "sweep"
    for name in ("driver.json", "sweep.2.yaml"):
        driver = start_thaw("sweep", file, "--quiet", cwd=tmp_path)
        while not (root / name).is_file():
            assert driver.poll() is None, driver.communicate()
        driver.kill()
        driver.communicate()
        status = start_thaw("status", root, cwd=tmp_path)
        _, err = status.communicate(timeout=60)
        assert status.returncode in (0, 2), err
        assert "Traceback" not in err
    for path in root.glob("run*.json"):
        path.unlink()
    driver = start_thaw("sweep", file, "--quiet", cwd=tmp_path)
    _, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err
    check_whole(root, TRIALS, EPOCHS)


def test_commands_on_the_winner_that_are_killed_or_meet(file: Path, start_thaw: Start, tmp_path: Path) -> None:
    root = tmp_path / "runs" / "sweep"
    one = ("--set", "search.trials=1", "--set", f"trial.epochs={LONG}")
    driver = start_thaw("sweep", file, "--quiet", *one, cwd=tmp_path)
    driver.communicate(timeout=300)
    for command, result in (("retrain", "winner/retrain.json"), ("export", "export/model.onnx")):
        killed = start_thaw(command, root, cwd=tmp_path)
        wait_for(lambda: (root / ".winner" / "driver.json").is_file(), killed)
        time.sleep(1.5)
        killed.kill()
        killed.communicate()
        first = start_thaw(command, root, cwd=tmp_path)
        wait_for(lambda pid=first.pid: (now := heartbeat.read(root / ".winner")) and now.pid == pid, first)
        first.send_signal(signal.SIGSTOP)  # else it may have ended before the second one looks
        second = start_thaw(command, root, cwd=tmp_path)
        time.sleep(20)
        first.send_signal(signal.SIGCONT)
        _, refused = second.communicate(timeout=300)
        _, err = first.communicate(timeout=300)
        assert (first.returncode, second.returncode) == (0, 2), (err, refused)
        assert f"but process {first.pid} on {socket.gethostname()} does" in refused
        assert (root / result).is_file()
    assert not [path.name for path in (root / "export").iterdir() if path.name.startswith(".")]
    assert not (root / ".winner.new").exists()

"""Faults of drivers: kills at moments that a seed chooses, and the checks of what they leave."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis import heartbeat
from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import open_run
from orchestrator.search.study import STATES
from orchestrator.worker import fork_server
from search_spaces.documents import dump_yaml
from search_spaces.errors import InvalidInput
from trainables.data.digits import write_digits
from trainables.result import TrialResult
from trainables.status import Status

Start = Callable[..., subprocess.Popen[str]]

KINDS = ("driver", "worker", "raylet", "gcs", "all")
LEFT_SECONDS = 30.0
"""Time after the end of a driver after which none of its processes may be left."""

END_SECONDS = 90.0
"""Time after which a driver whose Ray has died must have ended."""


class Family:
    """Family: the driver and every process that it has started, collected while it lives."""

    def __init__(self, driver: subprocess.Popen[str]) -> None:
        self.driver = driver
        self.seen: dict[psutil.Process, str] = {}
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.driver.pid)
            while self.driver.returncode is None and root.is_running():
                self.look(root)
                time.sleep(0.2)

    def look(self, root: psutil.Process) -> None:
        for child in [*root.children(recursive=True), *self._forked()]:
            with suppress(psutil.Error):
                self.seen[child] = f"{child.name()} {' '.join(child.cmdline())}"

    def _forked(self) -> Iterator[psutil.Process]:
        """The fork servers of its raylets and what they have forked: no descendants of the driver."""
        known = {str(process.pid) for process in [*self.seen]}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                command = process.cmdline()
                if fork_server.__name__ in command and command[-1] in known:
                    yield process

    def alive(self, *words: str) -> list[psutil.Process]:
        """Living processes whose name or command has one of the words."""
        found = [process for process, text in [*self.seen.items()] if any(word in text for word in words)]
        return [process for process in found if lives(process)]

    def left(self) -> list[str]:
        """The processes that are left 30 s after the end of the driver."""
        deadline = time.monotonic() + LEFT_SECONDS
        while (alive := [process for process in [*self.seen] if lives(process)]) and time.monotonic() < deadline:
            time.sleep(0.2)
        return [f"{process.pid} {self.seen[process][:120]}" for process in alive]

    def kill_all(self) -> None:
        for process in [*self.seen]:
            with suppress(psutil.Error):
                process.kill()


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Snapshot:
    """Snapshot: what the ledger of a run held at one moment, and what must therefore still be there."""

    def __init__(self, root: Path) -> None:
        self.finished: dict[str, bytes] = {}
        self.epochs: dict[str, list[Any]] = {}
        with suppress(InvalidInput):  # no run yet
            ledger = Ledger(open_run(root))
            for trial in ledger.trials():
                self.epochs[trial.trial_id] = [report.metrics for report in trial.reports]
                if not trial.status.unfinished:
                    self.finished[trial.trial_id] = ledger.path(trial.trial_id).read_bytes()

    def check(self, root: Path) -> None:
        """Nothing that was there is lost."""
        if not self.epochs:
            return
        ledger = Ledger(open_run(root))
        trials = {trial.trial_id: trial for trial in ledger.trials()}
        assert ledger.problems == (), ledger.problems
        for name, record in self.finished.items():
            assert ledger.path(name).read_bytes() == record, f"{name}: a finished record has changed"
        for name, metrics in self.epochs.items():
            assert name in trials, f"{name}: lost"
            now = [report.metrics for report in trials[name].reports]
            assert now[: len(metrics)] == metrics, f"{name}: an epoch is lost, or was trained twice"


def check_whole(root: Path, trials: int, epochs: int) -> None:
    """The run has ended, and is what an undisturbed one leaves."""
    run = open_run(root)
    found = Ledger(run).trials()
    assert [trial.trial_id for trial in found] == [f"{number:04d}" for number in range(trials)]
    failures = [(trial.trial_id, trial.status, trial.failure) for trial in found]
    assert {trial.status for trial in found} <= {Status.COMPLETED, Status.PRUNED}, failures
    for trial in found:
        assert [report.epoch for report in trial.reports] == list(range(1, len(trial.reports) + 1))
        assert trial.status is Status.PRUNED or len(trial.reports) == epochs
    check_study(root, found)
    ranked = [entry for entry in Leaderboard.from_run(run).entries if entry.rank is not None]
    assert [entry.rank for entry in ranked] == list(range(1, len(ranked) + 1))
    scores = [entry.trial.objective for entry in ranked]
    assert scores == sorted(scores, key=lambda score: -(score or 0))
    last = heartbeat.read(root)
    assert last is not None
    assert last.ended


def check_study(root: Path, trials: Sequence[TrialResult]) -> None:
    """Optuna's journal agrees with the ledger."""
    run = open_run(root)
    storage = JournalStorage(JournalFileBackend(str(run.study_log)))
    study = optuna.load_study(study_name=None, storage=storage)  # the only one
    states = {asked.user_attrs["trial_id"]: asked.state for asked in study.trials}
    assert len(study.trials) == len(trials)
    assert states == {trial.trial_id: STATES[trial.status] for trial in trials}


class Hunt:
    """Hunt: a run that is killed again and again, each time resumed, and at last left to end."""

    def __init__(self, start: Start, file: Path, trials: int, epochs: int, rng: random.Random) -> None:
        self.start, self.file, self.rng = start, file, rng
        self.trials, self.epochs = trials, epochs
        self.roots: list[Path] = []
        self.kills: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = {}
        """Seconds from a kill to the end of the driver, by kind."""

    def run(self, kinds: Sequence[str]) -> None:
        """Kill one process of each of the kinds; after a run that ends before that, go on with another."""
        waiting = list(kinds)
        while waiting:
            self.roots.append(self.file.parent / "runs" / f"sweep{len(self.roots)}")
            self._run(self.roots[-1], waiting)

    def _run(self, root: Path, waiting: list[str]) -> None:
        """Kill until the run has ended; the kinds that have had their turn leave `waiting`."""
        while True:
            family = self._launch(root)
            with _ended(family):
                while waiting and self._wait(family, waiting[0]):
                    if self._kill(root, family, waiting.pop(0)):
                        break
                else:
                    out, err = family.driver.communicate(timeout=600)
                    assert family.driver.returncode == 0, out + err
                    assert family.left() == []
                    check_whole(root, self.trials, self.epochs)
                    return

    def _launch(self, root: Path) -> Family:
        try:
            open_run(root)
            words = ("resume", root)
        except InvalidInput:
            words = ("sweep", self.file, "--name", root.name)
        return Family(self.start(*words, "--quiet", cwd=self.file.parent))

    def _wait(self, family: Family, kind: str) -> bool:
        """Wait for the moment of a kill; return False where the driver has ended by itself before."""
        # Ray's servers are watched once Ray has started; its first workers then stand by.
        words = {"worker": "Trainable", "raylet": "ray::IDLE", "gcs": "ray::IDLE"}.get(kind)
        while words is not None and family.driver.poll() is None and not family.alive(words):
            time.sleep(0.05)
        # A driver is killed at any moment, from the start of its process on.
        moment = time.monotonic() + self.rng.uniform(0, 3 if words else 14)
        while time.monotonic() < moment and family.driver.poll() is None:
            time.sleep(0.02)
        return family.driver.poll() is None

    def _kill(self, root: Path, family: Family, kind: str) -> bool:
        """Kill; return whether the driver ends of it."""
        before = Snapshot(root)
        driver = psutil.Process(family.driver.pid)
        begun = time.monotonic()
        if kind == "worker":
            workers = family.alive("Trainable")
            if workers:
                self.kills[kind] += 1
                self.rng.choice(workers).kill()
            return False
        servers = {"raylet": ("raylet/raylet",), "gcs": ("gcs_server",), "driver": (), "all": ("",)}[kind]
        for process in family.alive(*servers):
            with suppress(psutil.Error):
                process.kill()
        if kind in ("driver", "all"):
            driver.kill()
        self.kills[kind] += 1
        _, err = family.driver.communicate(timeout=END_SECONDS)
        self.seconds.setdefault(kind, []).append(time.monotonic() - begun)
        if kind in ("raylet", "gcs") and family.driver.returncode != 0:
            assert family.driver.returncode == 1, err
            assert "Traceback" not in err, err
            # A raylet that dies while the driver registers with it ends the process from within Ray: no word of ours.
            assert "error: " in err or "Failed to register worker to Raylet" in err, err
        else:
            assert family.driver.returncode in (-signal.SIGKILL, 0), err
        left = family.left()
        assert left == [], left
        assert not heartbeat.is_alive(root)
        before.check(root)
        return True


@contextmanager
def _ended(family: Family) -> Iterator[None]:
    try:
        yield
    except BaseException:
        family.driver.kill()
        family.kill_all()
        raise


TRIALS, EPOCHS = 5, 8


def kill_sweep(data: Path, folder: Path) -> tuple[Path, int, int]:
    """Write a small sweep, of some ten seconds, on the digits in `data`; return its file, trials and epochs."""
    digits = data / "digits"
    if not digits.exists():
        write_digits(digits, keep=dict.fromkeys(range(10), 0.3))
    trial = {"architecture": "test_efficientnet", "strategy": "full", "weights": "none", "optimizer": "adamw"}
    sweep = {
        "name": "sweep",
        "data": {"root": str(digits), "image_size": 32, "resize_mode": "squash"},
        "trial": {**trial, "scheduler": "constant", "seed": 1, "epochs": EPOCHS},
        "space": {"lr": {"log": [1e-3, 1e-2]}},
        "search": {"trials": TRIALS, "seed": 1},
        "stopping": {"asha": {"grace": 3, "reduction": 3}},
        "resources": {"concurrent": 2},
        "tracking": {"wandb": {"mode": "offline"}},
    }
    file = folder / "sweep.yaml"
    file.write_text(dump_yaml(sweep))
    return file, TRIALS, EPOCHS


def start_thaw(cache: Path) -> Start:
    """Starts `thaw` as people do, with this cache."""

    def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("thaw")), *map(str, arguments)]
        added = {"THAW_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1", "COLUMNS": "200", "WANDB_SILENT": "true"}
        pipe = subprocess.PIPE
        environment = {**os.environ, **added}
        return subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    return start

"""An online service that fails in any phase, in any way: nothing is lost, little time, one line, no process is left.

The real client of W&B talks to a server on this machine. Trials are simulated; their epochs take no time.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_wandb import FAULTS, PHASES, FakeWandb
from tracker_files import wandb_records, wandb_values

from analysis.leaderboard import Leaderboard
from orchestrator.spec.sections import Tracking
from orchestrator.tracking.configured_trackers import make_trackers
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.observer import TrackerProblem
from orchestrator.tracking.summary import SweepSummary
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

pytestmark = pytest.mark.seconds(60)

SWEEP, UID = "digits", "0123456789ab"
NAMES = ("0000", "0001", "0002")
EPOCHS = 3
# The limits of a real sweep, divided by this, keep the matrix affordable.
FASTER = 4
CALL, REQUEST, CLOSE = 24 / FASTER, 11 / FASTER, 38 / FASTER


@pytest.fixture(autouse=True)
def _logged_in_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeWandb]]:
    """Starts a server, and leads the client there."""
    started: list[FakeWandb] = []

    def start(fault: str = "hang", phase: str | None = None) -> FakeWandb:
        fake = FakeWandb(fault, phase).__enter__()
        started.append(fake)
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        return fake

    yield start
    for fake in started:
        fake.__exit__()


def result(name: str, epochs: int = EPOCHS, status: Status = Status.RUNNING) -> TrialResult:
    config = {"data": {"root": "/photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 9, "lr": 0.01}
    reports = tuple(
        EpochReport(epoch=epoch, metrics={"val/macro_f1": (epoch + int(name)) / 16}, seconds=0.5, checkpoint="best")
        for epoch in range(1, epochs + 1)
    )
    settings = TrialConfig.model_validate(config)
    return TrialResult(trial_id=name, config=settings, parameters={"lr": 0.01}, status=status, reports=reports)


class Swept:
    """A sweep of three trials, two of them at once, that has reported to its trackers."""

    def __init__(self, fake: FakeWandb | None, folder: Path, trackers: tuple[Any, ...], close: float = CLOSE) -> None:
        self.problems: list[TrackerProblem] = []
        began = time.monotonic()
        dispatcher = Dispatcher(trackers, SWEEP, folder, (), UID, self.problems.append)
        for epochs in range(EPOCHS + 1):
            for name in NAMES[:2]:
                dispatcher.on_trial(result(name, epochs))
            if fake is not None and epochs == 1:
                self.reach(fake, "log", 2)
        if fake is not None:
            self.reach(fake, "finish", 2)
        for name in NAMES[:2]:
            dispatcher.on_trial(result(name, status=Status.COMPLETED))
        for epochs in range(EPOCHS + 1):
            dispatcher.on_trial(result(NAMES[2], epochs))
        done = [result(name, status=Status.COMPLETED) for name in NAMES]
        dispatcher.on_trial(done[2])
        summary = SweepSummary(SWEEP, folder, Leaderboard.from_trials(Objective(), done), uid=UID)
        dispatcher.publish(lambda: summary)
        self.left = time.monotonic() - began
        dispatcher.close(close)
        self.seconds = time.monotonic() - began

    @staticmethod
    def reach(fake: FakeWandb, phase: str, runs: int) -> None:
        """Wait until the client has opened its runs; then the phase begins."""
        deadline = time.monotonic() + 30
        while fake.break_at == phase and len(fake.runs) < runs and time.monotonic() < deadline:
            time.sleep(0.02)
        fake.reach(phase)


def offline(folder: Path) -> dict[str, tuple[list[tuple[int, float]], str]]:
    """Rows and status by id, as `wandb sync` sends them from the folder."""
    found: dict[str, tuple[list[tuple[int, float]], str]] = {}
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        rows, status = [], ""
        for record in wandb_records(file):
            if record.HasField("history"):
                values = wandb_values(record.history.item)
                rows.append((record.history.step.num, values["val/macro_f1"]))
            elif record.HasField("summary"):
                status = wandb_values(record.summary.update).get("status", status)
        found[file.stem.removeprefix("run-")] = rows, status
    return found


def online(fake: FakeWandb) -> dict[str, tuple[list[tuple[int, float]], str]]:
    """Rows and status by id, of the runs that arrived whole."""
    return {
        name: (
            [(row["_step"], row["val/macro_f1"]) for row in run.rows if "val/macro_f1" in row],
            run.summary["status"],
        )
        for name, run in fake.runs.items()
        if run.exit_code == 0 and "status" in run.summary
    }


WANTED = {
    f"{UID}-{name}": ([(report.epoch, report.metrics["val/macro_f1"]) for report in result(name).reports], "COMPLETED")
    for name in NAMES
}


def family() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def trackers(**limits: float) -> tuple[Any, ...]:
    return make_trackers(Tracking(), **{"call_seconds": CALL, "request_seconds": REQUEST, **limits})


def test_a_healthy_service_gets_everything(service: Callable[..., FakeWandb], tmp_path: Path) -> None:
    fake = service()
    swept = Swept(fake, tmp_path, trackers())
    assert swept.problems == []
    assert online(fake) == WANTED
    assert {run.fields["displayName"] for run in fake.runs.values()} == {*NAMES, "sweep"}
    assert fake.runs.keys() == {*WANTED, f"{UID}-sweep"}
    assert any("leaderboard" in name for name in fake.runs[f"{UID}-sweep"].files)
    assert offline(tmp_path) == {}


def check(fake: FakeWandb, folder: Path, before: set[int], swept: Swept) -> None:
    assert {**offline(folder), **online(fake)}.items() >= WANTED.items()
    kept = offline(folder)
    assert {*kept, *online(fake)} >= {*WANTED, f"{UID}-sweep"}
    (problem,) = swept.problems
    assert problem.tracker == "W&B"
    assert problem.message.startswith(f"W&B: {fake.url} ")
    assert problem.message.endswith(f"send it later with: wandb sync {folder}/wandb/offline-run-*")
    assert "\n" not in problem.message
    core = [psutil.Process(pid) for pid in family() - before if psutil.pid_exists(pid)]
    assert [process for process in core if "tracker_host" in " ".join(process.cmdline())] == []


CASES = [(phase, fault) for phase in PHASES for fault in FAULTS]
QUICK = [("init", "garbage"), ("init", "hang"), ("log", "500"), ("finish", "dies")]


@pytest.mark.parametrize(
    ("phase", "fault"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.soak) for case in CASES],
)
def test_a_service_that_fails_costs_one_line_and_little_time(
    service: Callable[..., FakeWandb], tmp_path: Path, phase: str, fault: str
) -> None:
    before = family()
    fake = service(fault, phase)
    swept = Swept(fake, tmp_path, trackers())
    print(phase, fault, round(swept.seconds, 1), swept.problems)
    check(fake, tmp_path, before, swept)
    assert swept.seconds < 60 / FASTER

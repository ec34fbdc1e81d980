"""An online service that fails in any phase, in any way: nothing is lost, little time, one line, no process is left.

The real client of W&B talks to a server on this machine. Trials are simulated; their epochs take no time.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import psutil
import pytest
from fake_wandb import FAULTS, KEY, PHASES, FakeWandb
from run_records import run_record
from tracker_files import wandb_records, wandb_values

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.sweep import create_run
from orchestrator.spec.loading import load
from orchestrator.spec.sections import Tracking, Wandb
from orchestrator.tracking.configured_trackers import make_trackers
from orchestrator.tracking.dispatcher import CLOSE_SECONDS, SERVICE_SHARE, Dispatcher
from orchestrator.tracking.isolated_tracker import CALL_SECONDS
from orchestrator.tracking.notify import NOTIFY_SECONDS
from orchestrator.tracking.observer import TrackerProblem
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.weights_biases.service import REQUEST_SECONDS
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from search_spaces.documents import dump_yaml
from trainables.config import Objective, TrialConfig
from trainables.data.readers import Dataset
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

pytestmark = pytest.mark.seconds(60)

SWEEP, UID = "digits", "0123456789ab"
BIN = Path(sys.executable).parent
NAMES = ("0000", "0001", "0002")
EPOCHS = 3
# A quarter of a real sweep's limits keeps the matrix affordable.
CALL, REQUEST = CALL_SECONDS / 4, REQUEST_SECONDS / 4


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

    def __init__(self, fake: FakeWandb, folder: Path, trackers: tuple[Any, ...]) -> None:
        self.problems: list[TrackerProblem] = []
        run = RunFolder(folder)
        Ledger(run).write_run(run_record(uid=UID))
        began = time.monotonic()
        dispatcher = Dispatcher(trackers, SweepIdentity(SWEEP, UID), run, (), self.problems.append)
        for epochs in range(EPOCHS + 1):
            for name in NAMES[:2]:
                dispatcher.on_trial(result(name, epochs))
            if epochs == 1:
                self.reach(fake, "log", 2)
        self.reach(fake, "finish", 2)
        for name in NAMES[:2]:
            dispatcher.on_trial(result(name, status=Status.COMPLETED))
        for epochs in range(EPOCHS + 1):
            dispatcher.on_trial(result(NAMES[2], epochs))
        done = [result(name, status=Status.COMPLETED) for name in NAMES]
        dispatcher.on_trial(done[2])
        summary = SweepSummary(SweepIdentity(SWEEP, UID), run, Leaderboard.from_trials(Objective(), done))
        dispatcher.publish(lambda: summary)
        dispatcher.close()
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
                if "val/macro_f1" in values:  # the sweep's own row has its figures
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


def trackers() -> tuple[Any, ...]:
    return make_trackers(Tracking(), call_seconds=CALL, request_seconds=REQUEST)


def test_a_healthy_service_gets_everything(service: Callable[..., FakeWandb], tmp_path: Path) -> None:
    fake = service()
    swept = Swept(fake, tmp_path, make_trackers(Tracking()))
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
    assert problem.message.endswith(f"send it later with: thaw wandb sync {folder}")
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
    check(fake, tmp_path, before, swept)
    assert swept.seconds < CALL + CLOSE_SECONDS


def test_the_limits_of_a_command_add_up_to_less_than_a_minute() -> None:
    assert CLOSE_SECONDS + NOTIFY_SECONDS < 60
    assert 2 * REQUEST_SECONDS < CALL_SECONDS < SERVICE_SHARE * CLOSE_SECONDS


def test_the_end_of_a_command_cuts_a_call_short(service: Callable[..., FakeWandb], tmp_path: Path) -> None:
    fake, problems = service("hang", "init"), list[TrackerProblem]()
    dispatcher = Dispatcher(
        make_trackers(Tracking()), SweepIdentity(SWEEP, UID), RunFolder(tmp_path), (), problems.append
    )
    for name in NAMES:
        dispatcher.on_trial(result(name, status=Status.COMPLETED))
    began = time.monotonic()
    dispatcher.close(8.0)
    assert time.monotonic() - began < 10
    assert [problem.message.partition(";")[0] for problem in problems] == [
        f"W&B: {fake.url} does not answer (no answer before the end)"
    ]
    assert offline(tmp_path) == WANTED


# ---- other ways to be out of reach ----------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


ENVIRONMENTS: dict[str, Callable[[int], dict[str, str]]] = {
    "a name that is not known": lambda silent: {"WANDB_BASE_URL": "http://wandb.invalid"},
    "a proxy that hangs": lambda silent: {
        "WANDB_BASE_URL": "http://wandb.invalid",
        "HTTP_PROXY": f"http://user:secret@127.0.0.1:{silent}",
    },
    "TLS where there is none": lambda silent: {"WANDB_BASE_URL": f"https://127.0.0.1:{closed_port()}"},
    "TLS that hangs": lambda silent: {"WANDB_BASE_URL": f"https://127.0.0.1:{silent}"},
    "no key": lambda silent: {"WANDB_BASE_URL": f"http://127.0.0.1:{silent}", "WANDB_API_KEY": ""},
    "a key that is none": lambda silent: {"WANDB_BASE_URL": f"http://127.0.0.1:{silent}", "WANDB_API_KEY": "short"},
    "a password in the address": lambda silent: {"WANDB_BASE_URL": f"http://user:secret@127.0.0.1:{closed_port()}"},
}


@pytest.mark.soak
@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_a_service_out_of_reach_costs_one_line(
    case: str, silent_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    for name, value in ENVIRONMENTS[case](silent_port).items():
        monkeypatch.setenv(name, value)
    with FakeWandb() as unused:
        tracking = Tracking.model_validate({"wandb": {"mode": "online"}})
        swept = Swept(unused, tmp_path, make_trackers(tracking, CALL, REQUEST))
    (problem,) = swept.problems
    print(case, round(swept.seconds, 1), problem.message)
    assert offline(tmp_path).items() >= WANTED.items()
    assert "secret" not in problem.message
    assert swept.seconds < CALL + CLOSE_SECONDS


# ---- ids ------------------------------------------------------------------------------------------------------------


def test_a_thousand_runs_of_one_name_share_no_id(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    trial = {"architecture": "resnet18", "strategy": "head", "weights": "none", "epochs": 9}
    space = {"lr": {"log": [1e-3, 1e-1]}}
    search = {"trials": 1, "sampler": "random"}
    file.write_text(dump_yaml({"name": SWEEP, "data": {"root": "p"}, "trial": trial, "space": space, "search": search}))
    spec = load(file)
    no_photos = Dataset(tmp_path, ("a", "b"), {"train": (), "val": ()})
    arrays: Any = SimpleNamespace(
        classes=("a", "b"), duplicates=None, near=None, fingerprints=SimpleNamespace(trained="f"), dataset=no_photos
    )
    sets = []
    media = mock.patch.multiple("wandb", Table=mock.DEFAULT, Plotly=mock.DEFAULT)
    with mock.patch("wandb.init") as init, media, mock.patch("wandb.setup"):
        for number in range(1000):
            run = RunFolder(tmp_path / str(number) / SWEEP)
            create_run(run, spec, arrays)
            tracker, sweep = WandbTracker(Wandb(mode="offline")), SweepIdentity.of(run)
            with Dispatcher((tracker,), sweep, run) as dispatcher:
                dispatcher.on_trial(result("0000", status=Status.COMPLETED))
                dispatcher.publish(partial(SweepSummary.from_run, run))
            tracker.alert(sweep, run, {})
            assert [call.kwargs["name"] for call in init.call_args_list] == ["0000", "sweep", f"{SWEEP}-end"]
            sets.append({call.kwargs["id"] for call in init.call_args_list})
            init.reset_mock()
    assert {len(ids) for ids in sets} == {3}
    assert len(set().union(*sets)) == 3000


def test_the_ids_of_a_run_of_an_older_version_stay(tmp_path: Path) -> None:
    tracker = WandbTracker(Wandb(mode="offline"))
    with (
        mock.patch("wandb.init") as init,
        mock.patch("wandb.setup"),
        Dispatcher((tracker,), SweepIdentity(SWEEP), RunFolder(tmp_path)) as dispatcher,
    ):
        dispatcher.on_trial(result("0000", status=Status.COMPLETED))
        dispatcher.close()
    assert init.call_args.kwargs["id"] == f"{SWEEP}-0000"

"""A real MLflow server on this machine: it shows the leaderboard of a sweep, and costs the sweep nothing when it dies.

The server has an environment of its own, `.venv-mlflow`, installed on demand from `tests/mlflow-server`. Trials are
simulated.
"""

import csv
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from patient_dispatcher import PatientDispatcher
from tracker_files import mlflow_runs

from analysis.leaderboard import Leaderboard
from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Tracking
from orchestrator.tracking.configured_trackers import make_trackers
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.observer import TrackerProblem
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracker import CLIENT_PAUSE_SECONDS
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
SWEEP, UID = "digits", "0123456789ab"
MLFLOW_STATUS = {
    "COMPLETED": "FINISHED",
    "PRUNED": "FINISHED",
    "PRUNED_OOM": "FAILED",
    "FAILED": "FAILED",
    "TIMED_OUT": "FAILED",
    "INTERRUPTED": "KILLED",
    "RUNNING": "KILLED",
}


@pytest.fixture(scope="session")
def server_environment() -> Path:
    """The environment of the server, installed again where its lock file has changed."""
    folder, lock = ROOT / ".venv-mlflow", ROOT / "tests" / "mlflow-server" / "requirements.lock"
    uv, stamp = str(Path(sys.executable).with_name("uv")), hashlib.sha256(lock.read_bytes()).hexdigest()
    with FileLock(f"{folder}.lock"):
        made = folder / "lock.sha256"
        if not made.is_file() or made.read_text() != stamp:
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
            command = [uv, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode", str(lock)]
            subprocess.run(command, check=True, env={**os.environ, "VIRTUAL_ENV": str(folder)})
            made.write_text(stamp)
    return folder


class MlflowServer:
    """A server with a database and a folder of artifacts. Each test has an experiment of its own."""

    experiment = ""

    def __init__(self, environment: Path, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        options = {
            "--backend-store-uri": f"sqlite:///{folder}/mlflow.db",
            "--artifacts-destination": str(folder / "artifacts"),
            "--host": "127.0.0.1",
            "--port": str(port),
            "--workers": "1",
        }
        self.command = [environment / "bin" / "mlflow", "server", *(word for pair in options.items() for word in pair)]
        self.folder = folder
        folder.mkdir()
        self.start()

    def start(self) -> None:
        folder = self.folder
        with (folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=folder,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 90
        while not self.is_up():
            assert self.process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, (folder / "server.log").read_text()
            time.sleep(0.2)

    def is_up(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def ask(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def runs(self, filter: str, *order: str) -> list[dict[str, Any]]:
        """Runs with their parameters, metrics and tags as mappings."""
        (found,) = [
            each["experiment_id"]
            for each in self.ask("experiments/search", max_results=99)["experiments"]
            if each["name"] == self.experiment
        ]
        answer = self.ask("runs/search", experiment_ids=[found], filter=filter, order_by=order)
        return [
            {kind: {each["key"]: each["value"] for each in run["data"].get(kind, ())} for kind in run["data"]}
            | run["info"]
            for run in answer.get("runs", ())
        ]

    def curve(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        with urllib.request.urlopen(
            f"{self.url}/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key={metric}", timeout=20
        ) as answer:
            return [(int(row.get("step", 0)), row["value"]) for row in json.load(answer).get("metrics", ())]

    def artifact(self, run_id: str, path: str) -> bytes:
        address = f"{self.url}/get-artifact?path={path}&run_uuid={run_id}"
        with urllib.request.urlopen(address, timeout=20) as answer:
            return bytes(answer.read())


@pytest.fixture(scope="module")
def servers() -> Iterator[list[MlflowServer]]:
    """The servers that were started; the last one may be alive."""
    started: list[MlflowServer] = []
    yield started
    for each in started:
        each.kill()


@pytest.fixture
def server(
    servers: list[MlflowServer],
    server_environment: Path,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> MlflowServer:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    if not servers or servers[-1].process.poll() is not None:
        servers.append(MlflowServer(server_environment, tmp_path_factory.mktemp("mlflow") / "server"))
    servers[-1].experiment = tmp_path.name
    return servers[-1]


def trial(number: int, epochs: int, status: Status = Status.RUNNING) -> TrialResult:
    values = {"architecture": "resnet18", "strategy": "head", "epochs": 9, "lr": 0.01 * (number + 1)}
    reports = tuple(
        EpochReport(
            epoch=epoch,
            metrics={"val/macro_f1": (epoch + number) / 32},
            seconds=0.5,
            checkpoint="best",
        )
        for epoch in range(1, epochs + 1)
    )
    config = TrialConfig.model_validate({"data": {"root": "/photos"}, **values})
    parameters = {"lr": values["lr"]}
    return TrialResult(trial_id=f"{number:04}", config=config, parameters=parameters, status=status, reports=reports)


def dispatcher(server: MlflowServer, folder: Path, problems: list[TrackerProblem], *known: TrialResult) -> Dispatcher:
    settings = {"wandb": {"mode": "disabled"}, "mlflow": {"uri": server.url, "experiment": server.experiment}}
    trackers = make_trackers(Tracking.model_validate(settings))
    return PatientDispatcher(trackers, SweepIdentity(SWEEP, UID), RunFolder(folder), known, problems.append)


def live(dispatcher: Dispatcher, result: TrialResult, first: int = 0) -> None:
    for epochs in range(first, len(result.reports) + 1):
        dispatcher.on_trial(result.model_copy(update={"status": Status.RUNNING, "reports": result.reports[:epochs]}))
    dispatcher.on_trial(result)


def test_the_server_shows_the_leaderboard(server: MlflowServer, tmp_path: Path) -> None:
    run, problems = tmp_path / "run", list[TrackerProblem]()
    results = [trial(number, 1 + number % 3, status) for number, status in enumerate(Status)]
    results += [trial(7, 4, Status.COMPLETED), trial(8, 9, Status.COMPLETED)]
    with dispatcher(server, run, problems) as opened:
        for result in results:
            live(opened, result)
        (run / "export").mkdir(parents=True)
        for name in ("model.onnx", "labels.txt"):
            (run / "export" / name).write_text(f"the {name}")
        board = Leaderboard.from_trials(Objective(), results)
        summary = SweepSummary(
            SweepIdentity(SWEEP, UID), RunFolder(run), board, {"macro_f1": 0.5}, run / "export" / "model.onnx"
        )
        opened.publish(lambda: replace(summary, model=None, test={}))
        opened.publish(lambda: summary)
    assert problems == []
    runs = server.runs("tags.`mlflow.parentRunId` != ''", "metrics.`best/val/macro_f1` DESC")
    shown = {found["run_name"]: found for found in runs}
    assert shown.keys() == {result.trial_id for result in results}
    for result in results:
        found = shown[result.trial_id]
        assert found["status"] == MLFLOW_STATUS[result.status]
        assert found["tags"]["status"] == result.status
        assert found["params"]["lr"] == str(result.config.lr)
        assert found["params"]["data_root"] == "/photos"
        assert "patience" not in found["params"]
        assert found["metrics"]["best/val/macro_f1"] == result.objective
        curve = [(report.epoch, report.metrics["val/macro_f1"]) for report in result.reports]
        assert server.curve(found["run_id"], "val/macro_f1") == curve
    ranked = [entry.trial.trial_id for entry in board.entries if entry.rank is not None]
    assert [found["run_name"] for found in runs if found["tags"]["status"] == "COMPLETED"] == ranked
    (parent,) = server.runs(f"tags.`thaw.run` = '{UID}' and attributes.run_name = '{SWEEP}'")
    assert {found["tags"]["mlflow.parentRunId"] for found in runs} == {parent["run_id"]}
    assert (parent["tags"]["best/trial"], parent["metrics"]["trials/COMPLETED"]) == (ranked[0], 3)
    assert parent["metrics"]["test/macro_f1"] == 0.5
    assert server.artifact(parent["run_id"], "export/model.onnx") == b"the model.onnx"
    table = server.artifact(parent["run_id"], "leaderboard.csv").decode()
    order = [row["trial_id"] for row in csv.DictReader(table.splitlines())]
    assert order == [entry.trial.trial_id for entry in board.entries]
    assert not (run / "mlruns").exists()


def test_a_resumed_trial_continues_in_its_run(server: MlflowServer, tmp_path: Path) -> None:
    problems, before, after = list[TrackerProblem](), trial(0, 2, Status.INTERRUPTED), trial(0, 5, Status.COMPLETED)
    with dispatcher(server, tmp_path / "run", problems) as opened:
        live(opened, before)
    with dispatcher(server, tmp_path / "run", problems, before) as opened:
        live(opened, after, first=2)
        board = Leaderboard.from_trials(Objective(), [after])
        opened.publish(lambda: SweepSummary(SweepIdentity(SWEEP, UID), RunFolder(tmp_path / "run"), board))
    assert problems == []
    runs = server.runs("")
    assert sorted(found["run_name"] for found in runs) == ["0000", SWEEP]
    (found,) = [found for found in runs if found["run_name"] == "0000"]
    assert (found["status"], found["tags"]["status"]) == ("FINISHED", "COMPLETED")
    assert [step for step, _ in server.curve(found["run_id"], "val/macro_f1")] == [1, 2, 3, 4, 5]


def test_a_trial_that_starts_anew_replaces_its_run(server: MlflowServer, tmp_path: Path) -> None:
    problems = list[TrackerProblem]()
    for _ in range(2):
        with dispatcher(server, tmp_path / "run", problems) as opened:
            live(opened, trial(0, 3, Status.COMPLETED))
    assert problems == []
    (found,) = server.runs("tags.`thaw.trial` = '0000'")
    assert [step for step, _ in server.curve(found["run_id"], "val/macro_f1")] == [1, 2, 3]


def test_a_server_that_dies_costs_one_line_and_the_folder_takes_over(server: MlflowServer, tmp_path: Path) -> None:
    run, problems = tmp_path / "run", list[TrackerProblem]()
    first, second = trial(0, 5, Status.COMPLETED), trial(1, 3, Status.COMPLETED)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    opened = dispatcher(server, run, problems)
    live(opened, first.model_copy(update={"status": Status.RUNNING, "reports": first.reports[:1]}))
    time.sleep(2 * CLIENT_PAUSE_SECONDS)  # else both epochs would wait for the next one
    live(opened, first.model_copy(update={"status": Status.RUNNING, "reports": first.reports[:2]}), first=2)
    deadline = time.monotonic() + 120
    while not has_an_epoch(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    server.kill()
    began = time.monotonic()
    live(opened, first, first=3)
    live(opened, second)
    board = Leaderboard.from_trials(Objective(), [first, second])
    opened.publish(lambda: SweepSummary(SweepIdentity(SWEEP, UID), RunFolder(run), board))
    opened.close()
    assert time.monotonic() - began < 120, "the folder takes over at once; its process may start slowly"
    (problem,) = problems
    assert problem.tracker == "MLflow"
    assert problem.message.startswith(f"MLflow: {server.url} does not answer (")
    assert problem.message.endswith(f"mlflow ui --backend-store-uri {run}/mlruns")
    kept = {found.tags["mlflow.runName"]: found for found in mlflow_runs(run / "mlruns")}
    assert kept.keys() == {"0000", "0001", SWEEP}
    for result in (first, second):
        found = kept[result.trial_id]
        assert [step for step, _ in found.metrics["val/macro_f1"]] == [report.epoch for report in result.reports]
        assert found.tags["status"] == "COMPLETED"
    assert (kept[SWEEP].folder / "artifacts" / "leaderboard.csv").is_file()
    hosts = psutil.Process().children(recursive=True)
    assert [host.pid for host in hosts if host.pid not in before and "tracker_host" in _line(host)] == []
    server.start()
    with dispatcher(server, run, problems, first, second):
        pass
    assert len(problems) == 1
    for result in (first, second):
        (held,) = server.runs(f"tags.`thaw.trial` = '{result.trial_id}'")
        assert [step for step, _ in server.curve(held["run_id"], "val/macro_f1")] == [
            *range(1, len(result.reports) + 1)
        ]
        assert held["tags"]["status"] == "COMPLETED", "a resumed run gives the server what it lacks"


def has_an_epoch(server: MlflowServer) -> bool:
    """Return whether an epoch of the first trial has arrived."""
    with suppress(ValueError, OSError):
        return any(server.curve(found["run_id"], "val/macro_f1") for found in server.runs("tags.`thaw.trial` = '0000'"))
    return False


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""

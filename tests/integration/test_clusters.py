"""A cluster that is started by hand, and what is typed on it: real raylets, on loopback."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.status import Status

pytestmark = pytest.mark.seconds(100)

Thaw = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]

RAY = str(Path(sys.executable).with_name("ray"))


@dataclass
class Started:
    """A head without CPUs and a worker with one."""

    address: str
    dashboard: str
    environment: dict[str, str]

    @contextlib.contextmanager
    def node(self, *arguments: str, **variables: str) -> Iterator[None]:
        """A node for the time of the block. Never by `ray stop`, which ends whatever Ray there is on the machine."""
        # Its agent, which starts jobs, would do without a port that another Ray on this machine has taken.
        agent = f"--dashboard-agent-listen-port={free_port()}"
        command = [RAY, "start", "--block", "--disable-usage-stats", agent, *arguments]
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **self.environment, **variables}, stdout=log, stderr=log, cwd="/"
            )
            try:
                deadline = time.monotonic() + 120
                while "Ray runtime started" not in _text(log):
                    assert process.poll() is None, _text(log)
                    assert time.monotonic() < deadline, _text(log)
                    time.sleep(0.2)
                yield
            finally:
                process.terminate()
                process.wait(60)


def _text(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


def free_port() -> int:
    """A port that is free, and stays so: between those of Ray's workers and those that the system gives to others."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="module")
def cluster(cache_dir: Path) -> Iterator[Started]:
    # The sockets below it have long names, and a path of a socket is short.
    folder = tempfile.mkdtemp(prefix="ray")
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_TMPDIR": folder,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    port, dashboard = free_port(), free_port()
    started = Started(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", environment)
    head = ("--head", f"--port={port}", "--num-cpus=0", f"--dashboard-port={dashboard}")
    with pytest.MonkeyPatch.context() as patch:
        # Whoever submits has the token, and need not say so.
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.delenv("RAY_AUTH_MODE", raising=False)
        with started.node(*head), started.node(f"--address={started.address}", "--num-cpus=1"):
            yield started
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_sweep_is_handed_over_followed_and_refused(
    cluster: Started, write_sweep: Callable[..., Path], thaw: Thaw, tmp_path: Path
):
    file = write_sweep(tmp_path, search={"trials": 2}, resources={"concurrent": "auto"})
    submitted = thaw("submit", file, "--address", cluster.dashboard, cwd=tmp_path, RAY_ADDRESS="10.0.0.1:1")
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert re.search(r"(?m)^rank +trial +status", submitted.stdout), "what the sweep prints is passed on"
    assert re.search(rf"sweep: job sweep-\w{{8}} at {cluster.dashboard}; run {tmp_path}/runs/sweep", submitted.stderr)
    run = RunFolder(tmp_path / "runs" / "sweep")
    assert [trial.status for trial in Ledger(run).trials()] == [Status.COMPLETED] * 2
    assert not list(run.root.glob(".node-*"))
    assert not list(run.root.glob(".driver-*"))

    stranger = thaw("submit", file, "--address", cluster.dashboard, cwd=tmp_path, RAY_AUTH_TOKEN="0" * 64)
    assert stranger.returncode == 2
    assert f"error: --address: the cluster at {cluster.dashboard} asks for its token" in stranger.stderr

    again = thaw("submit", file, "--address", cluster.dashboard, cwd=tmp_path)
    assert again.returncode == 2
    assert "error: run folder must be new" in again.stdout

    extended = thaw("submit", "--extend", run.root, "--trials", 1, "--address", cluster.dashboard, cwd=tmp_path)
    assert extended.returncode == 0, extended.stdout + extended.stderr
    assert "search.trials: 2 -> 3" in extended.stdout
    assert [trial.status for trial in Ledger(run).trials()] == [Status.COMPLETED] * 3


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_whoever_follows_may_go(
    cluster: Started, write_sweep: Callable[..., Path], start_thaw: Start, thaw: Thaw, tmp_path: Path
):
    file = write_sweep(tmp_path, trial={"architecture": "test_efficientnet", "strategy": "full", "epochs": 200})
    following = start_thaw("submit", file, "--address", cluster.dashboard, cwd=tmp_path)
    run = RunFolder(tmp_path / "runs" / "sweep")
    wait_for_an_epoch(run, following)
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=60)
    assert following.returncode == 130
    (stop,) = re.findall(r"the sweep goes on\. End it with: ray (job stop .*)", err)
    assert thaw("status", run.root, cwd=tmp_path).stdout.startswith("sweep: driven by process")
    stopped = subprocess.run([RAY, *stop.split()], env={**os.environ, **cluster.environment}, capture_output=True)
    assert stopped.returncode == 0, stopped.stderr
    assert {trial.status.unfinished for trial in Ledger(run).trials()} == {True}

    epochs = len(Ledger(run).trials()[0].reports)
    resuming = start_thaw("submit", "--resume", run.root, "--address", cluster.dashboard, cwd=tmp_path)
    wait_for_an_epoch(run, resuming, epochs + 1)
    assert thaw("stop", run.root, cwd=tmp_path).returncode == 0
    out, err = resuming.communicate(timeout=60)
    assert resuming.returncode == 130, out + err
    assert f"continue it with: thaw submit --resume {run.root} --address {cluster.dashboard}" in err
    done = [report.epoch for report in Ledger(run).trials()[0].reports]
    assert done == list(range(1, len(done) + 1))


class Forgetful(threading.Thread):
    """A router: passes connections on to `port`, until it forgets those that there are, and tells neither side."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = port
        self.known: list[threading.Event] = []
        self.sockets = [self.listener]

    def run(self) -> None:
        with contextlib.suppress(OSError):  # until it is closed
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port))
                self.sockets += [near, far]
                forgotten = threading.Event()
                self.known.append(forgotten)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self.copy, args=(one, other, forgotten), daemon=True).start()

    @staticmethod
    def copy(one: socket.socket, other: socket.socket, forgotten: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if not forgotten.is_set():
                    other.sendall(data)
            if not forgotten.is_set():
                other.shutdown(socket.SHUT_WR)

    def forget_all(self) -> None:
        for forgotten in self.known:
            forgotten.set()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join()
        for each in self.sockets:
            each.close()


@pytest.mark.timeout(300)
def test_a_job_is_followed_to_its_end_over_a_connection_that_is_dropped_in_silence(cluster: Started):
    router = Forgetful(int(cluster.dashboard.rpartition(":")[2]))
    router.start()
    code = f"""
from orchestrator.cluster import submission
from ray.job_submission import JobSubmissionClient
submission.SILENT_SECONDS = 1
client = JobSubmissionClient("http://127.0.0.1:{router.listener.getsockname()[1]}")
job_id = client.submit_job(entrypoint="echo begun; sleep 8; echo more; exit 1")
print("ended", submission.Job(client, job_id, "").follow(lambda text: print(text, end="", flush=True)))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **cluster.environment}, stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        said = []
        for line in follower.stdout:
            said.append(line)
            if line == "begun\n":
                router.forget_all()
    router.close()
    assert (said.count("begun\n"), said.count("more\n"), said[-1]) == (1, 1, "ended 1\n"), said


@pytest.fixture(scope="module")
def enter_old_node(cluster: Started, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], None]]:
    """Lets a worker on which timm is another version join the cluster, where it has not; it stays to the end."""
    site = tmp_path_factory.mktemp("site")
    (site / "timm-0.0.1.dist-info").mkdir()
    (site / "timm-0.0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: timm\nVersion: 0.0.1\n")
    with contextlib.ExitStack() as nodes:

        @cache
        def enter() -> None:
            nodes.enter_context(cluster.node(f"--address={cluster.address}", "--num-cpus=1", PYTHONPATH=str(site)))

        yield enter


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_plan_is_of_the_nodes_that_there_are(
    cluster: Started, write_sweep: Callable[..., Path], thaw: Thaw, tmp_path: Path
):
    """It is typed on the head, which has no CPU for trials: what is measured is the worker."""
    file = write_sweep(tmp_path, search={"trials": 4, "probe": False}, resources={"concurrent": "auto"})
    arguments = ("--address", cluster.address, "--price", "0.60 EUR", "--format", "json")
    planned = thaw("plan", file, *arguments, cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    found = json.loads(planned.stdout)
    assert sorted(node["cores"] for node in found["nodes"]) == [0, 1]
    assert (found["machine"]["cores"], found["at_once"]["trials"]) == (1, 1)
    assert re.fullmatch(r"[\d.]+ \(\w{8}\)", found["measured_on"])
    assert found["price"] == {"text": "0.60 EUR", "per_hour": 0.6, "per": "machine", "devices": 2}
    forecast = found["forecast"]["without_stopping"]
    assert forecast["money"] == pytest.approx(2 * 0.6 * forecast["wall_seconds"] / 3600)
    assert list(tmp_path.iterdir()) == [file], "a plan writes nothing"

    joined = thaw("plan", file, "--nodes", "4", "--format", "json", cwd=tmp_path, RAY_ADDRESS=cluster.address)
    several = json.loads(joined.stdout)
    assert several["nodes"] == [{"cores": 1, "gpus": 0}] * 4
    assert (several["at_once"]["trials"], several["price"]) == (4, None)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_node_with_other_versions_stops_a_sweep_that_it_joins(
    cluster: Started,
    enter_old_node: Callable[[], None],
    write_sweep: Callable[..., Path],
    start_thaw: Start,
    tmp_path: Path,
):
    file = write_sweep(tmp_path, trial={"architecture": "test_efficientnet", "strategy": "full", "epochs": 200})
    sweep = start_thaw("sweep", file, "--quiet", "--address", cluster.address, cwd=tmp_path)
    run = RunFolder(tmp_path / "runs" / "sweep")
    wait_for_an_epoch(run, sweep)
    enter_old_node()
    _, err = sweep.communicate(timeout=300)
    assert sweep.returncode == 1, err
    assert re.search(r"error: node .* which has joined the cluster: timm must be .* got 0\.0\.1", err)
    assert f"go on: thaw resume {run.root}" in err
    assert {trial.status for trial in Ledger(run).trials()} == {Status.INTERRUPTED}


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_such_a_node_is_named_before_anything_is_trained(
    cluster: Started,
    enter_old_node: Callable[[], None],
    write_sweep: Callable[..., Path],
    thaw: Thaw,
    tmp_path: Path,
):
    file = write_sweep(tmp_path)
    enter_old_node()
    swept = thaw("sweep", file, "--quiet", "--address", cluster.address, cwd=tmp_path)
    examined = thaw("doctor", file, "--address", cluster.address, "--format", "json", cwd=tmp_path)
    assert swept.returncode == 2, swept.stderr
    assert re.search(
        r"error: node [\d.]+ \(\w{8}\): timm must be [\d.]+ as on the driver, got 0\.0\.1 in /", swept.stderr
    )
    assert not (tmp_path / "runs" / "sweep").exists()
    assert examined.returncode == 1
    nodes = [check for check in json.loads(examined.stdout) if check["name"].startswith("node ")]
    assert sorted(check["found"] for check in nodes if check["ok"]) == ["0 CPU, 0 GPU", "1 CPU, 0 GPU"]
    (bad,) = [check["remedy"] for check in nodes if not check["ok"]]
    assert bad.endswith("install the same thaw wheel, with its [train] extra, on every node")


def wait_for_an_epoch(run: RunFolder, process: subprocess.Popen[str], epoch: int = 1) -> None:
    deadline = time.monotonic() + 300
    while not (run.trials.is_dir() and any(len(trial.reports) >= epoch for trial in Ledger(run).trials())):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)


ADDRESSES = [
    ("sweep", "ray://head:10001", "from another machine, hand the sweep over: thaw submit SWEEP.yaml --address"),
    ("sweep", "10.0.0.7", "must be `auto` or HOST:PORT, got 10.0.0.7; Ray's own port is 6379: 10.0.0.7:6379"),
    ("sweep", "127.0.0.1:1", "a Ray cluster must answer, got nothing at 127.0.0.1:1"),
    ("submit", "auto", "must be the address of the cluster's dashboard, got auto; write http://HOST:8265"),
    ("submit", "http://127.0.0.1:1", "a Ray cluster's dashboard must answer at http://127.0.0.1:1"),
]


@pytest.fixture(scope="module")
def refusals(
    write_sweep: Callable[..., Path], cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Any]]:
    """The exit code of each command, and what it says; all in one process, which is dear to start."""
    folder = tmp_path_factory.mktemp("refused")
    code = """
import contextlib, io, json, sys
from orchestrator.cli import run

for command, address in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        ended = run([command, "sweep.yaml", "--address", address])
    print(json.dumps([address, [ended, said.getvalue()]]))
"""
    write_sweep(folder)
    typed = json.dumps([(command, address) for command, address, _ in ADDRESSES])
    told = subprocess.run(
        [sys.executable, "-c", code, typed],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not (folder / "runs" / "sweep").exists()
    return dict(json.loads(line) for line in told.stdout.splitlines())


@pytest.mark.parametrize(("command", "address", "message"), ADDRESSES)
def test_an_address_that_leads_nowhere(command: str, address: str, message: str, refusals: dict[str, list[Any]]):
    code, said = refusals[address]
    assert code == 2, f"{command}: {said}"
    assert message in said

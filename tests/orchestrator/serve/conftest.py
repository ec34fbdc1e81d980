"""Dashboards that answer on this machine, and runs whose records are written by hand."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvicorn
from report_runs import SPACE, trial, unpacked
from run_records import run_record

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.serve.access_token import AccessToken
from orchestrator.serve.dashboard_app import Dashboard
from orchestrator.serve.live_list import LiveList
from orchestrator.serve.loopback import listen, server_of
from orchestrator.serve.refresher import Refresher
from trainables.storage.place import Place

TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass(frozen=True)
class Browser:
    """Asks one dashboard, as a browser would."""

    address: str

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.address + path, method=method, headers=named)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read().decode())

    def wait_for(self, path: str, *texts: str) -> Answer:
        """Ask until all texts are there; how soon that is, `benchmarks/dashboard.py` measures."""
        deadline = time.monotonic() + 60
        while True:
            answer = self.ask(path)
            answer = replace(answer, text=unpacked(answer.text))
            if all(text in answer.text for text in texts):
                return answer
            assert time.monotonic() < deadline, f"{texts} not in {answer.text[:2000]}"
            time.sleep(0.3)


@pytest.fixture
def refresher() -> Refresher:
    return Refresher()


@pytest.fixture
def open_dashboard(refresher: Refresher) -> Iterator[Callable[..., Browser]]:
    """Starts a dashboard of a folder or a run, with or without a token."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(root: Place, token: str | None = None) -> Browser:
        access = None if token is None else AccessToken(token, "the test")
        server = server_of(Dashboard(LiveList(root, refresher), refresher, access).app())
        socket = listen(0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        running.append((server, thread))
        return Browser(f"http://127.0.0.1:{socket.getsockname()[1]}")

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with one run, `first`, of four completed trials."""
    write_run(tmp_path / "runs" / "first", 4)
    return tmp_path / "runs"


def write_run(root: Place, trials: int, **record: object) -> Ledger:
    ledger = Ledger(RunFolder(root))
    if isinstance(root, Path):
        root.mkdir(parents=True)
    ledger.write_run(run_record(space=SPACE, trials_planned=trials, **record))
    for number in range(trials):
        ledger.write_trial(trial(number))
    return ledger


@pytest.fixture
def new_run() -> Callable[..., Ledger]:
    """Writes a run with so many completed trials."""
    return write_run

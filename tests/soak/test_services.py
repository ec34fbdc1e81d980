"""Real sweeps whose services do not answer: equal metrics, at most a minute more, one line, and no process left."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_wandb import FakeWandb

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder

pytestmark = [pytest.mark.soak, pytest.mark.seconds(150)]

Thaw = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Ended:
    """One run of the chain: sweep, retrain, export."""

    run: RunFolder
    output: list[str]
    """Standard error of each command."""

    seconds: list[float]
    """Wall-clock seconds of each command."""

    def metrics(self) -> list[Any]:
        return [[report.metrics for report in trial.reports] for trial in Ledger(self.run).trials()]


@pytest.fixture
def chain(thaw: Thaw, write_sweep: Callable[..., Path], tmp_path: Path) -> Callable[..., Ended]:
    def run(name: str, notify: dict[str, Any] | None = None, *options: str, **environment: str) -> Ended:
        folder = tmp_path / name
        folder.mkdir()
        mode = "online" if environment else "disabled"
        tracking = {"wandb": {"mode": mode}, "notify": notify or {}}
        sweep = write_sweep(folder, search={"trials": 3, "sampler": "random"}, tracking=tracking)
        place = {name: str(folder / "home") for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")}
        output, seconds = [], []
        for command in (["sweep", sweep.name, *options], ["retrain", "runs/sweep"], ["export", "runs/sweep"]):
            began = time.monotonic()
            result = thaw(*command, cwd=folder, **place, **environment)
            seconds.append(time.monotonic() - began)
            assert result.returncode == 0, result.stderr
            output.append(result.stderr)
        print(name, seconds)
        return Ended(RunFolder(folder / "runs" / "sweep"), output, seconds)

    return run


def processes_of(folder: Path) -> list[list[str]]:
    """Command lines of the processes that the client has left in a folder, by their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and str(folder) in "".join(process.environ().values()):
                found.append(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return [line for line in found if any("wandb" in word or "tracker_host" in word for word in line)]


SAME_LOOKS = "some groups of images look the same"
"""Begin of the warning of a sweep on handwritten digits, some of which look the same."""


# First: it warms the caches of images and compiled modules, without which the chain beside it is slower.
def test_a_healthy_server_gets_the_chain(chain: Callable[..., Ended]) -> None:
    with FakeWandb() as fake:
        ended = chain("healthy", {"wandb_alert": True}, **fake.environment)
        uid = Ledger(ended.run).read_run().uid
        names = ("0000", "0001", "0002", "retrain", "export", "sweep", "end")
        assert fake.runs.keys() == {f"{uid}-{name}" for name in names}
        assert [alert["title"] for alert in fake.alerts] == ["sweep: completed"]
    assert list(ended.run.wandb.glob("offline-run-*")) == []
    warnings = [line for text in ended.output for line in text.splitlines() if "warning" in line]
    assert [line for line in warnings if SAME_LOOKS not in line] == []


def test_a_chain_beside_a_hanging_server(chain: Callable[..., Ended], tmp_path: Path) -> None:
    disabled = chain("disabled")
    with FakeWandb("hang", "init") as fake:
        notify = {"wandb_alert": True, "command": "sleep 300"}
        hanging = chain("hanging", notify, "--log-format", "json", **fake.environment)
    assert hanging.metrics() == disabled.metrics()
    for slow, fast in zip(hanging.seconds, disabled.seconds, strict=True):
        assert slow - fast <= 60
    swept, retrained, exported = hanging.output
    events = [json.loads(line) for line in swept.splitlines()]
    told = [event["message"] for event in events if event["event"] == "warning"]
    warnings = [message for message in told if not message.startswith(SAME_LOOKS)]
    assert [message.partition(" ")[0] for message in warnings] == ["W&B:", "tracking.notify.command:"]
    assert f"thaw wandb sync {hanging.run.root.resolve()}" in warnings[0]
    for text in (retrained, exported):
        assert [line.partition(" ")[0] for line in text.splitlines() if "W&B" in line] == ["warning:", "send"]
        assert "Traceback" not in text
        assert "wandb:" not in text
    assert processes_of(tmp_path / "hanging") == []

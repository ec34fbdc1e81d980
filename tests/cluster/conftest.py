"""Hosts of the cluster tests: a machine outside, and three or more for a cluster, with what each has beforehand."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hosts import ROOT, Host, Network, end, install, network, wait_until, why_not

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from search_spaces.documents import dump_yaml
from trainables.data.digits import write_digits
from trainables.result import TrialResult

ADDRESSES = {"head": "10.0.0.10", "first": "10.0.0.11", "second": "10.0.0.12"}
FILE = "clusters/on-premises.yaml"
DASHBOARD = "http://localhost:8265"


@dataclass
class Lab:
    """A machine outside of the cluster, in a checkout of Thaw, and the hosts of the cluster."""

    network: Network
    outside: Host
    hosts: dict[str, Host]

    def run(self, name: str) -> RunFolder:
        return open_run(self.network.shared / "runs" / name)

    def trials(self, name: str) -> list[TrialResult]:
        """The trials of a run, of which there may be none yet."""
        folder = self.network.shared / "runs" / name
        return Ledger(self.run(name)).trials() if (folder / "run.json").is_file() else []

    def epochs(self, name: str) -> int:
        return sum(len(trial.reports) for trial in self.trials(name))

    def type(self, line: str, **options: Any) -> str:
        """Type a line outside; return what it prints."""
        return self.outside.shell(f"cd thaw && {line}", **options)

    def write_sweep(
        self,
        name: str,
        trials: int,
        epochs: int,
        *,
        base: str = "/mnt/shared",
        photos: str = "digits",
        weights: str = "none",
    ) -> str:
        """Write a sweep file whose paths are those of the hosts, below `base`; return its path there."""
        trial = {"architecture": "test_efficientnet", "strategy": "full", "weights": weights, "optimizer": "adamw"}
        data = {"root": f"{base}/{photos}", "image_size": 32, "resize_mode": "squash"}
        sweep = {
            "name": name,
            "data": data if weights == "none" else {**data, "weights_dir": f"{base}/weights"},
            "trial": {**trial, "scheduler": "constant", "seed": 1, "epochs": epochs},
            "space": {"lr": {"log": [1e-3, 1e-2]}},
            "search": {"trials": trials, "points": [{"lr": 1e-3 + 5e-4 * number} for number in range(trials)]},
            "stopping": "none",
            "storage": {"root": f"{base}/runs"},
            "tracking": {"wandb": {"mode": "disabled"}},
        }
        (self.network.shared / f"{name}.yaml").write_text(dump_yaml(sweep))
        return f"/mnt/shared/{name}.yaml"

    @contextlib.contextmanager
    def tunnel(self, line: str) -> Iterator[None]:
        """Hold the head's dashboard open outside, by a line that does so until Ctrl-C."""
        process = self.outside.start("bash", "-c", f"cd thaw && exec {line}")
        try:
            knock = "(</dev/tcp/127.0.0.1/8265) 2>&1 || true"
            wait_until(lambda: not self.outside.shell(knock), 60, "the tunnel to the dashboard")
            yield
        finally:
            end(process)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if reason := why_not():
        pytest.skip(reason)
    # A short path: those of sockets and of ssh's control files are short.
    folder = Path(tempfile.mkdtemp(prefix="lab"))
    try:
        with network(folder) as net:
            outside = net.add("outside", "10.0.0.1")
            lab = Lab(net, outside, {name: net.add(name, address) for name, address in ADDRESSES.items()})
            write_digits(net.shared / "digits", keep=dict.fromkeys(range(10), 0.3))
            _check_out(outside.folder / "home" / "thaw")
            install(list(lab.hosts.values()))
            yield lab
    finally:
        shutil.rmtree(folder)


def _check_out(folder: Path) -> None:
    """Copy the files of this repository, with the addresses of the hosts in the cluster file."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    text = (folder / FILE).read_text()
    for theirs, ours in (
        ("[10.0.0.11, 10.0.0.12, 10.0.0.13]", "[10.0.0.11, 10.0.0.12]"),
        ("_workers: 3", "_workers: 2"),
        ("# ssh_private_key", "ssh_private_key"),
    ):
        assert theirs in text
        text = text.replace(theirs, ours)
    (folder / FILE).write_text(text)


@pytest.fixture(scope="session")
def check_all() -> Callable[[list[TrialResult], int, int], None]:
    """All trials are complete, each is there once, and has each of its epochs once."""

    def check(trials: list[TrialResult], count: int, epochs: int) -> None:
        assert [trial.trial_id for trial in trials] == [f"{number:04d}" for number in range(count)]
        assert {(trial.status.value, str(trial.failure)) for trial in trials} == {("COMPLETED", "None")}
        for trial in trials:
            assert [report.epoch for report in trial.reports] == list(range(1, epochs + 1))

    return check

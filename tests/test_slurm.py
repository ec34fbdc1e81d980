"""The recipe for SLURM, run with stubs of SLURM's commands: what it starts, when it stops, resumes and queues itself.

In `make soak` also with Ray's own nodes and a sweep, all on one machine.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.status import Status

SCRIPT = Path(__file__).parents[1] / "clusters" / "slurm.sh"
# From SLURM's manual of sbatch and srun: an option that is not here is a slip or a new one.
DIRECTIVES = {
    *("job-name", "output", "open-mode", "nodes", "ntasks-per-node", "cpus-per-task", "gpus-per-node", "mem"),
    *("time", "signal", "requeue", "no-kill"),
}

SRUN = r"""#!/bin/bash
# One task on each node, all of them on this machine. Options have the form --name=value.
output=/dev/stdout
while [[ $1 == -* ]]; do
  case $1 in
    --no-kill | --kill-on-bad-exit=0 | --ntasks-per-node=1 | --open-mode=append | --cpus-per-task=[1-9]*) ;;
    --output=*) output=${1#--output=} ;;
    *) echo "srun: unrecognized option $1" >&2; exit 1 ;;
  esac
  shift
done
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do
  SLURM_NODEID=$node "$@" >>"$output" 2>&1 &
done
trap 'kill -TERM $(jobs -p) 2>/dev/null' TERM
while [ -n "$(jobs -pr)" ]; do wait; done
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >>"$STUB_LOG"
"""
GETENT = """#!/bin/bash
echo "$STUB_ADDRESS STREAM $2"
"""
RAY = """#!/bin/bash
case $1 in
  start)
    echo "ray $* in $(stat -c %a "$tmp")" >>"$STUB_LOG"
    [ -z "$STUB_RAY_FAILS" ] || exit 1
    trap 'echo "ray ends" >>"$STUB_LOG"; exit' TERM
    while :; do sleep 0.1; done ;;
  status) [ -n "$STUB_RAY_FAILS" ] || seq -f " 1 node_%g" "$SLURM_JOB_NUM_NODES" ;;
esac
"""
# In Python: what bash starts in the background ignores SIGINT, and another bash could not trap it.
THAW = f"""#!{sys.executable} -IS
import os, pathlib, signal, sys, time

def log(text):
    with open(os.environ["STUB_LOG"], "a") as file:
        print(text, file=file)

def on_signal(number, frame):
    log(signal.Signals(number).name)
    if number == signal.SIGINT or not os.environ.get("STUB_BUSY"):
        sys.exit(130)

if sys.argv[1] == "status":
    sys.exit(not pathlib.Path(sys.argv[2], "run.json").exists())
signal.signal(signal.SIGTERM, on_signal)
signal.signal(signal.SIGINT, on_signal)
log(f"thaw {{' '.join(sys.argv[1:])}}")
time.sleep(float(os.environ["STUB_SECONDS"]))
sys.exit(1)
"""


class Slurm:
    """SLURM on this machine: its commands are stubs, and so are those of `stubs`."""

    def __init__(self, folder: Path, stubs: dict[str, str], **variables: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.job = f"{os.getpid()}{time.monotonic_ns() % 1000}"
        (folder / "bin").mkdir()
        for name, text in {"srun": SRUN, "scontrol": SCONTROL, "getent": GETENT, **stubs}.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_TOKEN": "0" * 64,
            "SLURM_JOB_ID": self.job,
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_PER_TASK": "1",
            "STUB_LOG": str(self.log),
            "STUB_ADDRESS": "10.0.0.1",
            "STUB_SECONDS": "0",
            **variables,
        }
        self.script = SCRIPT.read_text().replace("  sleep 1\n", "  sleep 0.1\n")

    def folder_of_ray(self, restarts: int = 0) -> Path:
        """Folder that the script makes on each node."""
        return Path(f"/tmp/thaw-{self.job}-{restarts}")

    def start(self, *words: object, **variables: str) -> subprocess.Popen[str]:
        """Run the script as SLURM does, from a copy of its own."""
        (copy := self.folder / "slurm_script").write_text(self.script)
        self.log.write_text("")
        return subprocess.Popen(
            ["/bin/bash", copy, *map(str, words)],
            cwd=self.folder,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: object, **variables: str) -> tuple[int, str]:
        """Run the script to its end; return its exit code and output."""
        with self.start(*words, **variables) as job:
            out, _ = job.communicate(timeout=400)
        return job.returncode, out

    def said(self) -> list[str]:
        """Arguments that the stubs were called with."""
        return self.log.read_text().splitlines()

    def wait_for(self, start: str, job: subprocess.Popen[str]) -> None:
        """Wait for a line of the log."""
        deadline = time.monotonic() + 60
        while not any(line.startswith(start) for line in self.said()):
            assert job.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    (tmp_path / "sweep.yaml").write_text("name: sweep\n")
    slurm = Slurm(tmp_path, {"ray": RAY, "thaw": THAW})
    yield slurm
    assert not any(slurm.folder_of_ray(restarts).exists() for restarts in (0, 100)), "it leaves nothing on the nodes"


def test_it_starts_a_head_a_worker_and_the_sweep(slurm: Slurm) -> None:
    code, out = slurm.run(slurm.folder / "sweep.yaml", "/shared/runs/my sweep")
    assert code == 1, f"the sweep's own: {out}"
    port = 20_000 + int(slurm.job) % 5000 * 2
    at = f"10.0.0.1:{port}"
    started = f"--block --disable-usage-stats --temp-dir={slurm.folder_of_ray()}/ray --num-cpus=1 --num-gpus=0"
    head = f"--head --port={port} --node-ip-address=10.0.0.1 --include-dashboard=false"
    assert sorted(slurm.said()) == [
        "ray ends",
        "ray ends",
        f"ray start {started} --address={at} in 700",
        f"ray start {started} {head} --ray-client-server-port={port + 1} in 700",
        f"thaw sweep {slurm.folder}/sweep.yaml --name my sweep --set storage.root=/shared/runs --address {at}",
    ]


def test_a_run_that_exists_is_resumed(slurm: Slurm) -> None:
    (slurm.folder / "run.json").touch()
    assert slurm.run(slurm.folder / "sweep.yaml", slurm.folder)[0] == 1
    assert any(line.startswith(f"thaw resume {slurm.folder} --address 10.0.0.1:") for line in slurm.said())


@pytest.mark.parametrize(
    ("number", "busy", "restarts", "then"),
    [
        (signal.SIGUSR1, "", 0, ["SIGTERM", "scontrol"]),
        (signal.SIGUSR1, "yes", 0, ["SIGTERM", "SIGINT", "scontrol"]),
        (signal.SIGTERM, "", 0, ["SIGTERM"]),
        (signal.SIGUSR1, "", 100, ["SIGTERM"]),
    ],
    ids=["time limit", "time limit in a long epoch", "stop", "time limit without end"],
)
def test_a_signal_stops_the_sweep_and_before_the_time_limit_queues_it_again(
    slurm: Slurm, number: signal.Signals, busy: str, restarts: int, then: list[str]
) -> None:
    slurm.script = slurm.script.replace("epoch_seconds=240", "epoch_seconds=1")
    variables = {"STUB_SECONDS": "30", "STUB_BUSY": busy, "SLURM_RESTART_COUNT": str(restarts)}
    with slurm.start(slurm.folder / "sweep.yaml", "/shared/runs/sweep", **variables) as job:
        slurm.wait_for("thaw sweep", job)
        time.sleep(0.3)  # until the script has set its traps
        job.send_signal(number)
        out, _ = job.communicate(timeout=60)
    ended = [line.split()[0] for line in slurm.said()]
    assert [line for line in ended if line in ("SIGTERM", "SIGINT", "scontrol")] == then, out
    assert job.returncode == (0 if "scontrol" in then else 130)
    assert "scontrol" not in then or f"scontrol requeue {slurm.job}" in slurm.said()


def test_ray_that_does_not_start_is_an_error(slurm: Slurm) -> None:
    code, out = slurm.run(slurm.folder / "sweep.yaml", "/shared/runs/sweep", STUB_RAY_FAILS="yes")
    assert code == 2
    assert f"error: Ray must start on the nodes, but has ended; see thaw-{slurm.job}.ray.out" in out
    assert not any(line.startswith("thaw") for line in slurm.said())


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (["sweep.yaml"], {}, "must get a sweep file and a run, got 1 arguments"),
        (["sweep.yaml", "runs/a"], {}, "RUN must be a full path or s3://bucket/prefix, got runs/a; write /"),
        (["none.yaml", "s3://bucket/a"], {}, "SWEEP.yaml must be a file that this node can read, got none.yaml"),
        (["sweep.yaml", "/a"], {"SLURM_JOB_ID": ""}, "must run as a job of SLURM; type sbatch "),
        (["sweep.yaml", "/a"], {"PATH": "/usr/bin:/bin"}, "thaw must be on the PATH of the job, got /usr/bin:/bin"),
        (["sweep.yaml", "/a"], {"STUB_ADDRESS": "127.0.1.1"}, "an IPv4 address that the others reach, got '127.0.1.1'"),
    ],
)
def test_what_cannot_work_is_refused(slurm: Slurm, words: list[str], variables: dict[str, str], message: str) -> None:
    code, out = slurm.run(*words, **variables)
    assert code == 2
    assert f"error: {message}" in out or message in out
    assert slurm.said() == []


def test_slurm_knows_every_directive() -> None:
    found = re.findall(r"(?m)^#SBATCH --([\w-]+)", SCRIPT.read_text())
    assert sorted(found) == sorted(DIRECTIVES)
    assert len(re.findall(r"(?m)^#SBATCH", SCRIPT.read_text())) == len(found)


def test_it_says_that_it_was_never_launched_and_holds_no_secret() -> None:
    text = SCRIPT.read_text()
    assert "Never launched on a SLURM cluster" in text
    assert not re.search(r"_(KEY|SECRET|PASSWORD)\w*=", text)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_sweep_goes_through_two_jobs(tmp_path: Path, write_sweep: Callable[..., Path], cache_dir: Path) -> None:
    """The first job is told of its time limit; the second, which SLURM would start, ends the sweep."""
    addresses = [net.address for nets in psutil.net_if_addrs().values() for net in nets if net.family.name == "AF_INET"]
    outside = [address for address in addresses if not address.startswith("127.")]
    if not outside:
        pytest.skip("this machine has no address but loopback")
    slurm = Slurm(tmp_path, {}, STUB_ADDRESS=outside[0], THAW_CACHE_DIR=str(cache_dir))
    trial = {"architecture": "test_efficientnet", "strategy": "full", "epochs": 30}
    file = write_sweep(tmp_path, trial=trial, search={"trials": 2}, resources={"concurrent": "auto"})
    run = RunFolder(tmp_path / "runs" / "sweep")
    with slurm.start(file, run.root) as job:
        deadline = time.monotonic() + 300
        while not (run.trials.is_dir() and any(trial.reports for trial in Ledger(run).trials())):
            assert job.poll() is None, job.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        job.send_signal(signal.SIGUSR1)
        out, _ = job.communicate(timeout=300)
    assert slurm.said() == [f"scontrol requeue {slurm.job}"], out
    assert {trial.status for trial in Ledger(run).trials()} == {Status.INTERRUPTED}
    before = {trial.trial_id: len(trial.reports) for trial in Ledger(run).trials()}

    code, out = slurm.run(file, run.root, SLURM_RESTART_COUNT="1")
    assert code == 0, out
    assert slurm.said() == []
    trials = Ledger(run).trials()
    assert [trial.status for trial in trials] == [Status.COMPLETED] * 2
    assert all([report.epoch for report in trial.reports] == list(range(1, 31)) for trial in trials)
    assert any(before.values()), "the second may have begun no epoch"
    assert max(before.values()) < 30
    assert not any(slurm.folder_of_ray(restarts).exists() for restarts in (0, 1))

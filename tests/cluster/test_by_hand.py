"""A cluster that is started by hand, and faults between its hosts: two drivers, nodes that come and go, a lost head."""

import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hosts import ROOT, Host, end, wait_until
from safetensors.torch import save_file

from trainables.data.digits import write_digits
from trainables.model.build import bare_model
from trainables.result import TrialResult

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RUNS = "/mnt/shared/runs"
STILL_SECONDS = 20.0
KNOCK = "(</dev/tcp/10.0.0.1/9000) 2>&1 || true"

Check = Callable[[list[TrialResult], int, int], None]

# An S3 service on the machine outside, and what every node needs for it.
S3 = "http://10.0.0.1:9000"
SECRETS = {"AWS_ENDPOINT_URL": S3, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "x"}

# As in clusters/README.md, before `ray start` on every machine.
BEFORE = "export RAY_AUTH_MODE=token RAY_worker_killing_policy_by_group=true "
BEFORE += " ".join(f"{name}={value}" for name, value in SECRETS.items())


def start_head(host: Host) -> None:
    host.shell(f"{BEFORE}; ray start --head --port=6379 --num-cpus=0", timeout=120)


def join(host: Host, head: Host) -> None:
    host.shell(f"{BEFORE}; ray start --address={head.address}:6379", timeout=120)


def provide(lab: Any, host: Host) -> None:
    """Bring the wheel and the token of the cluster to a host."""
    copy = "scp -q -o StrictHostKeyChecking=accept-new"
    lab.type(f"{copy} dist/thaw-*.whl thaw@{host.address}:; ssh thaw@{host.address} mkdir -p .ray")
    lab.type(f"{copy} ~/.ray/auth_token thaw@{host.address}:.ray/")
    host.shell("pip install thaw-*.whl")


@pytest.fixture(scope="module")
def by_hand(lab: Any) -> Iterator[Any]:
    lab.type("uv build --wheel", UV_NO_BUILD_ISOLATION="1", UV_OFFLINE="1")
    lab.type("ray get-auth-token --generate")
    head, *others = lab.hosts.values()
    for host in lab.hosts.values():
        provide(lab, host)
    start_head(head)
    for other in others:
        join(other, head)
    yield lab


def test_one_of_two_drivers_on_two_hosts_drives(by_hand: Any, check_all: Check) -> None:
    head, first, _ = by_hand.hosts.values()
    file = by_hand.write_sweep("both", 3, 8)
    command = ("thaw", "sweep", file, "--address", "auto", "--quiet")
    drivers = [host.start(*command) for host in (head, first)]
    ends = [(driver.communicate(timeout=300)[0], driver.returncode) for driver in drivers]
    assert sorted(code for _, code in ends) == [0, 2], ends
    refused = next(output for output, code in ends if code == 2)
    assert "run folder must be new" in refused or " drives it" in refused, refused
    check_all(by_hand.trials("both"), 3, 8)
    assert "nothing was left to do" in first.run("thaw", "resume", f"{RUNS}/both", "--address", "auto")
    assert "node 10.0.0.12" in head.run("thaw", "doctor", file, "--address", "auto")


def test_a_node_joins_another_leaves_and_the_shared_folder_stands_still(by_hand: Any, check_all: Check) -> None:
    head, _, second = by_hand.hosts.values()
    calm, disturbed = (by_hand.write_sweep(name, 8, 12) for name in ("calm", "disturbed"))
    head.run("thaw", "sweep", calm, "--address", "auto", "--quiet")
    sweep = head.start("thaw", "sweep", disturbed, "--address", "auto", "--quiet")
    try:
        wait_until(lambda: by_hand.epochs("disturbed") >= 4, 120, "the first epochs")
        with by_hand.network.standing_still():
            time.sleep(STILL_SECONDS)
        assert sweep.poll() is None, "the sweep must last as long as the folder stands still"
        second.shell("ray stop")
        third = by_hand.network.add("third", "10.0.0.13")
        shutil.copytree(second.folder / "home", third.folder / "home", symlinks=True, dirs_exist_ok=True)
        join(third, head)
        output, _ = sweep.communicate(timeout=300)
    finally:
        end(sweep)
    assert sweep.returncode == 0, output
    trials = by_hand.trials("disturbed")
    check_all(trials, 8, 12)
    for ours, theirs in zip(trials, by_hand.trials("calm"), strict=True):
        assert [report.metrics for report in ours.reports] == [report.metrics for report in theirs.reports]


SEND = """
import sys
from pyarrow.fs import LocalFileSystem, S3FileSystem, copy_files
disk, bucket = LocalFileSystem(), S3FileSystem(endpoint_override=sys.argv[1], allow_bucket_creation=True)
bucket.create_dir("thaw")
for name in ("few", "weights"):
    copy_files(f"/mnt/shared/{name}", f"thaw/{name}", source_filesystem=disk, destination_filesystem=bucket)
"""


def test_photos_weights_and_run_in_a_bucket(by_hand: Any, check_all: Check) -> None:
    head, log = by_hand.hosts["head"], by_hand.network.shared / "requests"
    weights = by_hand.network.shared / "weights" / "test_efficientnet.safetensors"
    weights.parent.mkdir()
    save_file(bare_model("test_efficientnet", 10, seed=3).state_dict(), weights)
    places = {"mounted": "/mnt/shared", "fetched": "s3://thaw"}
    few = by_hand.network.shared / "few"
    write_digits(few, keep=dict.fromkeys(range(10), 0.15))
    more = {"photos": "few", "weights": "pretrained"}
    files = [by_hand.write_sweep(name, 4, 6, base=base, **more) for name, base in places.items()]
    # Its output would fill the pipe that nobody reads.
    line = f"{sys.executable} {ROOT}/tests/helpers/s3_server.py /mnt/shared/requests 10.0.0.1 9000 >/dev/null 2>&1"
    server = by_hand.outside.start("bash", "-c", f"exec {line}")
    try:
        wait_until(lambda: by_hand.outside.run("bash", "-c", KNOCK) == "", 60, "the S3 service")
        by_hand.outside.run(sys.executable, "-c", SEND, S3, **SECRETS)
        sent = len(log.read_text().splitlines())
        for file in files:
            head.run("thaw", "sweep", file, "--address", "auto", "--quiet", **SECRETS)
        told = head.run("thaw", "leaderboard", "s3://thaw/runs/fetched", "--format", "csv", **SECRETS)
    finally:
        end(server)
    check_all(by_hand.trials("mounted"), 4, 6)
    mounted = head.run("thaw", "leaderboard", f"{RUNS}/mounted", "--format", "csv")
    columns = re.compile(r"^(\d+,\d+,\w+,[\d.]+),", re.MULTILINE)
    assert columns.findall(told) == columns.findall(mounted), "the same trials with the same objectives"
    assert len(columns.findall(told)) == 4
    asked = re.findall(r"^GET /thaw/(?:few|weights)/\S+ .+", "\n".join(log.read_text().splitlines()[sent:]), re.M)
    gets = Counter(asked)
    assert len({line.split()[1] for line in gets}) == len(list(few.rglob("*.png"))) + 1
    assert set(gets.values()) == {1}, "each object is fetched once per node"


def test_a_run_goes_on_when_the_head_is_lost(by_hand: Any, check_all: Check) -> None:
    head, first, second = by_hand.hosts.values()
    file = by_hand.write_sweep("headless", 4, 30)
    tunnel = "ssh -N -o ServerAliveInterval=5 -o StrictHostKeyChecking=accept-new -L 8265:localhost:8265 thaw@"
    with by_hand.tunnel(f"{tunnel}{head.address}"):
        sweep = by_hand.outside.start("thaw", "submit", file, "--address", "http://localhost:8265")
        try:
            wait_until(lambda: by_hand.epochs("headless") >= 4, 120, "the first epochs")
            head.switch_off()
            output, _ = sweep.communicate(timeout=240)
        finally:
            end(sweep)
    assert sweep.returncode == 1, output
    assert f"thaw submit --resume {RUNS}/headless" in output
    before = [trial.reports for trial in by_hand.trials("headless")]
    for host in (first, second):
        host.shell("ray stop")
    start_head(second)
    join(first, second)
    with by_hand.tunnel(f"{tunnel}{second.address}"):
        command = f"thaw submit --resume {RUNS}/headless --address http://localhost:8265"
        by_hand.type(command, timeout=300)
        check_all(by_hand.trials("headless"), 4, 30)
        command = f"thaw submit --extend {RUNS}/headless --trials 1 --address http://localhost:8265"
        by_hand.type(command, timeout=300)
    trials = by_hand.trials("headless")
    check_all(trials, 5, 30)
    for trial, reports in zip(trials, before, strict=False):
        assert trial.reports[: len(reports)] == reports, "an epoch is lost, or was trained twice"

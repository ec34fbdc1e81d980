"""A cluster that is launched on three hosts, and used from outside, by what clusters/README.md says to type."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hosts import end, wait_until

from trainables.result import TrialResult

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

FILE = "clusters/on-premises.yaml"
DASHBOARD = "http://localhost:8265"
RUNS = "/mnt/shared/runs"
TRIALS, EPOCHS = 12, 16
CUT_SECONDS = 60.0

Check = Callable[[list[TrialResult], int, int], None]


def nodes(lab: Any) -> int:
    """The number of nodes that the head counts as living."""
    code = "import ray; ray.init('auto', logging_level=50); print('nodes', sum(n['Alive'] for n in ray.nodes()))"
    said = lab.hosts["head"].run("python", "-c", code, RAY_AUTH_MODE="token")
    return int(re.findall(r"nodes (\d+)", said)[-1])


@pytest.fixture(scope="module")
def launched(lab: Any) -> Iterator[Any]:
    # Without a registry, uv builds with the packages that are there; as `uv build --wheel` does with those it fetches.
    lab.type("uv build --wheel", UV_NO_BUILD_ISOLATION="1", UV_OFFLINE="1")
    lab.type("ray get-auth-token --generate")
    lab.type(f"ray up --yes {FILE}", timeout=240)
    wait_until(lambda: nodes(lab) == 3, 180, "two workers join the head")
    yield lab
    lab.type(f"ray down --yes {FILE}", timeout=120)
    for name in ("head", "first"):
        command = "cat /proc/[0-9]*/comm"
        wait_until(lambda: "raylet" not in lab.hosts[name].shell(command), 120, f"the end of Ray on {name}")  # noqa: B023


def test_the_doctor_knows_every_node(launched: Any) -> None:
    file = launched.write_sweep("doctor", 1, 1)
    # `ray attach` opens a shell on the head; what is typed into it comes from standard input here.
    said = launched.type(f"echo 'thaw doctor {file} --address auto; exit' | ray attach {FILE}")
    for address in ("10.0.0.10", "10.0.0.11", "10.0.0.12"):
        assert f"node {address}" in said, said


def test_twelve_trials_through_a_partition_and_the_loss_of_a_host(launched: Any, check_all: Check) -> None:
    first, second = launched.hosts["first"], launched.hosts["second"]
    calm, disturbed = (launched.write_sweep(name, TRIALS, EPOCHS) for name in ("calm", "disturbed"))
    with launched.tunnel(f"ray dashboard {FILE}"):
        said = launched.type(f"thaw submit {calm} --address {DASHBOARD}", timeout=400)
        assert f"run {RUNS}/calm" in said
        check_all(launched.trials("calm"), TRIALS, EPOCHS)

        sweep = launched.outside.start("thaw", "submit", disturbed, "--address", DASHBOARD)
        try:
            wait_until(lambda: launched.epochs("disturbed") >= 8, 120, "the first epochs")
            first.cut_off()
            time.sleep(CUT_SECONDS)
            first.reconnect()
            assert sweep.poll() is None, "the sweep must last as long as the partition"
            second.switch_off()  # until the other is back, there is no worker
            output, _ = sweep.communicate(timeout=400)
        finally:
            end(sweep)
    assert sweep.returncode == 0, output
    trials = launched.trials("disturbed")
    check_all(trials, TRIALS, EPOCHS)
    for ours, theirs in zip(trials, launched.trials("calm"), strict=True):
        assert [report.metrics for report in ours.reports] == [report.metrics for report in theirs.reports]

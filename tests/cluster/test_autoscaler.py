"""Ray's autoscaler with its provider of fake machines: nodes come for the trials that wait, and one is taken back."""

from collections.abc import Callable
from typing import Any

import pytest
from hosts import end, wait_until

from trainables.result import TrialResult

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# On a host, since `start` ends whatever Ray there is.
START = """
from ray.cluster_utils import AutoscalingCluster

worker = {"resources": {"CPU": 1, "object_store_memory": 10**8}, "node_config": {}, "min_workers": 0, "max_workers": 2}
AutoscalingCluster(head_resources={"CPU": 0}, worker_node_types={"worker": worker}, autoscaler_v2=True).start()
"""
NODES = """
import ray
ray.init("auto", logging_level=50)
print("nodes", *[node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")])
"""


def test_nodes_come_for_the_trial_that_waits_and_one_goes_after_a_warning(
    lab: Any, check_all: Callable[[list[TrialResult], int, int], None]
) -> None:
    head = lab.hosts["head"]
    lab.type("uv build --wheel --out-dir /mnt/shared/dist", UV_NO_BUILD_ISOLATION="1", UV_OFFLINE="1")
    head.shell("pip install /mnt/shared/dist/thaw-*.whl")
    head.run("python", "-c", START)

    def workers() -> list[str]:
        return head.run("python", "-c", NODES).rpartition("nodes")[2].split()

    assert workers() == []
    file = lab.write_sweep("scaled", 6, 40)
    sweep = head.start("thaw", "sweep", file, "--address", "auto", "--quiet")
    try:
        wait_until(lambda: len(workers()) == 2, 180, "two nodes for the trials that wait")
        wait_until(lambda: lab.epochs("scaled") >= 4, 120, "the first epochs")
        # As for a spot machine that its cloud takes back.
        warning = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot")
        drained = workers()[0]
        head.run("ray", "drain-node", "--node-id", drained, *warning, "--deadline-remaining-seconds", 10)
        wait_until(lambda: drained not in workers(), 60, "the node that was warned goes")
        output, _ = sweep.communicate(timeout=300)
    finally:
        end(sweep)
    assert sweep.returncode == 0, output
    check_all(lab.trials("scaled"), 6, 40)

"""Ray's autoscaler with its provider of fake machines: nodes come for the trials that wait, and one is taken back."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hosts import end, wait_until

from trainables.result import TrialResult

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# As ray.cluster_utils.AutoscalingCluster has it. Ray's wheel lacks the template of the provider `fake_multinode`, so it
# is named as one of somebody else.
COMMANDS = (
    *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands"),
    *("cluster_synced_files", "rsync_exclude", "rsync_filter"),
)
HEAD_ID = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
CLUSTER = {
    "cluster_name": "fake",
    "max_workers": 2,
    "idle_timeout_minutes": 5,
    "provider": {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "launch_multiple": True,
        "head_node_id": HEAD_ID,
    },
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1, "object_store_memory": 10**8}, "node_config": {}, "max_workers": 2},
    },
    "head_node_type": "ray.head.default",
    "auth": {"ssh_user": "nobody"},
    "upscaling_speed": 1.0,
    # For another provider than a built-in one Ray knows no defaults.
    "docker": {},
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    **{key: [] for key in COMMANDS},
}
ENVIRONMENT = {
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
}
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
    (lab.network.shared / "fake.json").write_text(json.dumps(CLUSTER))
    start = "ray start --autoscaling-config=/mnt/shared/fake.json --head --num-cpus=0"
    head.shell(start, **ENVIRONMENT)

    def workers() -> list[str]:
        return head.run("python", "-c", NODES).rpartition("nodes")[2].split()

    assert workers() == []
    file = lab.write_sweep("scaled", 6, 40)
    # `auto` counts the nodes that there are, and there is none.
    sweep = head.start("thaw", "sweep", file, "--address", "auto", "--set", "resources.concurrent=2")
    try:
        wait_until(lambda: sweep.poll() is not None or len(workers()) == 2, 120, "two nodes for the trials that wait")
        wait_until(lambda: lab.epochs("scaled") >= 4, 120, "the first epochs")
        # As for a spot machine that its cloud takes back.
        warning = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot")
        drained = workers()[0]
        head.run("ray", "drain-node", "--node-id", drained, *warning, "--deadline-remaining-seconds", 10)
        wait_until(lambda: drained not in workers(), 60, "the node that was warned goes")
        output, _ = sweep.communicate(timeout=300)
    except AssertionError as error:
        log = head.shell("tail -n 30 /tmp/ray/session_latest/logs/monitor.log /tmp/ray/session_latest/logs/monitor.err")
        raise AssertionError(f"{error}\n{end(sweep)}\n{log}") from error
    finally:
        end(sweep)
    assert sweep.returncode == 0, output
    check_all(lab.trials("scaled"), 6, 40)

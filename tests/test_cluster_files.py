"""The cluster file, as far as it can be checked without a cloud."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_rays_own_validator_accepts_it(cluster: dict[str, Any]) -> None:
    # Private, because Ray has no public way to check a cluster file without launching it.
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_rays_own_validator_would_refuse_an_unknown_key(cluster: dict[str, Any]) -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(ValidationError, match="max_wrokers"):
        validate_config(prepare_config({**cluster, "max_wrokers": 1}))


def test_workers_are_preemptible_and_come_and_go(cluster: dict[str, Any]) -> None:
    nodes = cluster["available_node_types"]
    workers = [node for name, node in nodes.items() if name != cluster["head_node_type"]]
    assert workers
    for worker in workers:
        assert worker["min_workers"] == 0 < worker["max_workers"] <= cluster["max_workers"]
        assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_the_head_runs_no_trials(cluster: dict[str, Any]) -> None:
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "--num-cpus=0" in cluster["head_start_ray_commands"][-1]


def test_nodes_install_the_wheel_they_are_given(cluster: dict[str, Any]) -> None:
    ((remote, local),) = cluster["file_mounts"].items()
    assert local == "dist"
    installs = [command for command in cluster["setup_commands"] if f"{remote}/thaw-*.whl" in command]
    assert len(installs) == 1
    assert installs[0].endswith('[train]"')


def test_it_holds_no_secret() -> None:
    text = (ROOT / "cluster.yaml").read_text()
    assert "WANDB_API_KEY" in text
    assert "WANDB_API_KEY=" not in text
    assert "aws_secret" not in text.lower()

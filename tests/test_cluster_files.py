"""The cluster files, as far as they can be checked without a cloud."""

import copy
import re
import shlex
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

ROOT = Path(__file__).parents[1]
FILES = ["cluster.yaml", "clusters/on-premises.yaml", "clusters/kubernetes.yaml"]
LAUNCHED = FILES[:2]


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.fixture(params=LAUNCHED)
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture
def on_aws() -> dict[str, Any]:
    return read("cluster.yaml")


@pytest.fixture
def job() -> dict[str, Any]:
    return read("clusters/kubernetes.yaml")


# ---- Ray's launcher --------------------------------------------------------------------------------------------------


def test_rays_own_validator_accepts_it(cluster: dict[str, Any]) -> None:
    # Private, because Ray has no public way to check a cluster file without launching it.
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_rays_own_validator_would_refuse_an_unknown_key(cluster: dict[str, Any]) -> None:
    from jsonschema import ValidationError as Refused
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(Refused, match="max_wrokers"):
        validate_config(prepare_config({**cluster, "max_wrokers": 1}))


def test_workers_on_aws_are_preemptible_and_come_and_go(on_aws: dict[str, Any]) -> None:
    nodes = on_aws["available_node_types"]
    workers = [node for name, node in nodes.items() if name != on_aws["head_node_type"]]
    assert workers
    for worker in workers:
        assert worker["min_workers"] == 0 < worker["max_workers"] <= on_aws["max_workers"]
        assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_all_machines_of_ones_own_are_workers() -> None:
    local = read("clusters/on-premises.yaml")
    assert local["min_workers"] == local["max_workers"] == len(local["provider"]["worker_ips"])
    assert local["provider"]["head_ip"] not in local["provider"]["worker_ips"]


def test_the_head_runs_no_trials(cluster: dict[str, Any], on_aws: dict[str, Any]) -> None:
    assert on_aws["available_node_types"][on_aws["head_node_type"]]["resources"] == {"CPU": 0}
    assert "--num-cpus=0" in cluster["head_start_ray_commands"][-1]


def test_nodes_install_the_wheel_they_are_given(cluster: dict[str, Any]) -> None:
    (remote,) = [remote for remote, local in cluster["file_mounts"].items() if local == "dist"]
    installs = [command for command in cluster["setup_commands"] if f"{remote}/thaw-*.whl" in command]
    assert len(installs) == 1
    assert installs[0].endswith('[train]"')


def test_every_node_has_the_cluster_s_token_and_says_so(cluster: dict[str, Any]) -> None:
    """A worker's `ray start` offers the token only if told to, and a head asks for it wherever the file exists."""
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for node in ("head", "worker"):
        assert "RAY_AUTH_MODE=token ~/thaw-venv/bin/ray start" in cluster[f"{node}_start_ray_commands"][-1]


def test_every_node_kills_one_worker_at_a_time_for_lack_of_memory(cluster: dict[str, Any]) -> None:
    """Ray's own policy does not see the memory of the processes in which trials train."""
    setting = "RAY_worker_killing_policy_by_group=true"
    for node in ("head", "worker"):
        assert setting in cluster[f"{node}_start_ray_commands"][-1]
    assert f"ENV {setting}" in (ROOT / "clusters" / "Dockerfile").read_text()


@pytest.mark.parametrize("name", FILES)
def test_it_holds_no_secret(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "WANDB_API_KEY" in text
    assert re.findall(r"WANDB_API_KEY=(?!\.\.\.)", text) == []
    assert "aws_secret" not in text.lower()


@pytest.mark.parametrize(("name", "cloud"), [("cluster.yaml", "AWS"), ("clusters/kubernetes.yaml", "a Kubernetes")])
def test_what_was_never_launched_says_so(name: str, cloud: str) -> None:
    assert f"# Never launched on {cloud}" in (ROOT / name).read_text()


# ---- Kubernetes ------------------------------------------------------------------------------------------------------
# KubeRay's schema is a megabyte, and not to be had offline: the fields that the file uses are written down here, from
# KubeRay's own types (apis/ray/v1) and Kubernetes' reference of pods. A field that is not here is a slip or a new one.


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class SecretRef(Strict):
    name: str
    optional: bool


class EnvFrom(Strict):
    secret_ref: SecretRef


class ContainerResources(Strict):
    requests: dict[str, str]
    limits: dict[str, str]


class VolumeMount(Strict):
    name: str
    mount_path: str


class Container(Strict):
    name: str
    image: str
    env_from: list[EnvFrom]
    resources: ContainerResources
    volume_mounts: list[VolumeMount]


class Claim(Strict):
    claim_name: str


class EmptyDir(Strict):
    medium: Literal["Memory"]
    size_limit: str


class Volume(Strict):
    name: str
    persistent_volume_claim: Claim | None = None
    empty_dir: EmptyDir | None = None


class PodSpec(Strict):
    containers: list[Container]
    volumes: list[Volume]


class PodTemplate(Strict):
    spec: PodSpec


class HeadGroup(Strict):
    ray_start_params: dict[str, str]
    template: PodTemplate


class WorkerGroup(HeadGroup):
    group_name: str
    replicas: int = Field(ge=0)
    min_replicas: int = Field(ge=0)
    max_replicas: int = Field(ge=1)


class AutoscalerOptions(Strict):
    idle_timeout_seconds: int = Field(gt=0)


class RayCluster(Strict):
    ray_version: str
    enable_in_tree_autoscaling: Literal[True]
    autoscaler_options: AutoscalerOptions
    head_group_spec: HeadGroup
    worker_group_specs: list[WorkerGroup]


class JobSpec(Strict):
    entrypoint: str
    backoff_limit: int = Field(ge=0)
    shutdown_after_job_finishes: Literal[True]
    ttl_seconds_after_finished: int = Field(ge=0)
    ray_cluster_spec: RayCluster


class Metadata(Strict):
    name: str


class RayJob(Strict):
    api_version: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: JobSpec


def test_kuberay_knows_every_field(job: dict[str, Any]) -> None:
    parsed = RayJob.model_validate(job)
    groups = [parsed.spec.ray_cluster_spec.head_group_spec, *parsed.spec.ray_cluster_spec.worker_group_specs]
    for pod in (group.template.spec for group in groups):
        (container,) = pod.containers
        assert {mount.name for mount in container.volume_mounts} == {volume.name for volume in pod.volumes}
        # Ray counts what a pod may use at most.
        assert container.resources.requests == container.resources.limits
        assert "/mnt/shared" in {mount.mount_path for mount in container.volume_mounts}
    assert len({group.template.spec.containers[0].image for group in groups}) == 1


def test_a_slip_in_it_would_be_seen(job: dict[str, Any]) -> None:
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParam"] = {}
    with pytest.raises(ValidationError, match="rayStartParam\n"):
        RayJob.model_validate(job)


def test_rays_autoscaler_reads_it(job: dict[str, Any]) -> None:
    # Private: what KubeRay's autoscaler, which is Ray's, does with the cluster that it is given.
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
    from ray.autoscaler._private.util import validate_config

    spec = copy.deepcopy(job["spec"]["rayClusterSpec"])
    config = _derive_autoscaling_config_from_ray_cr({"metadata": {"name": "c", "namespace": "default"}, "spec": spec})
    validate_config(config)
    nodes = config["available_node_types"]
    assert nodes["headgroup"]["resources"]["CPU"] == 0
    assert nodes["gpu"]["resources"]["GPU"] == 1
    assert nodes["gpu"]["min_workers"] == 0 < nodes["gpu"]["max_workers"]


def test_its_entry_is_a_command_that_a_shell_understands(job: dict[str, Any]) -> None:
    shell, option, script = shlex.split(job["spec"]["entrypoint"])
    assert (shell, option) == ("sh", "-c")
    run = f"/mnt/shared/runs/{job['metadata']['name']}"
    assert re.findall(r"thaw [^;]*", script) == [
        f"thaw resume {run} --address auto",
        f"thaw sweep /mnt/shared/sweep.yaml --name {job['metadata']['name']} --address auto",
    ]


def test_versions_of_ray_agree(job: dict[str, Any]) -> None:
    import ray

    image = (ROOT / "clusters/Dockerfile").read_text()
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__
    assert image.count(ray.__version__) == 2

"""Checks of the nodes of a cluster before anything is trained on them."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster import node_probe, runtime
from orchestrator.cluster.node_probe import NodeQuestion
from search_spaces.errors import InvalidInput
from search_spaces.redaction import redact

RayNode = Mapping[str, Any]

NODE_PACKAGES = ("thaw", "torch", "timm", "ray")
ENOUGH_CACHE = 2**30
TIMEOUT = 120.0


@dataclass(frozen=True)
class NodeReport:
    """NodeReport: faults of one node; none where it is ready."""

    name: str
    """Name of the node; see `node_name`."""

    resources: str
    """Resources of the node for trials."""

    complaints: tuple[str, ...]
    """Rule, value and remedy of each fault."""


def examine_cluster(address: str, question: NodeQuestion, folder: Path) -> list[NodeReport]:
    """Check every node of the cluster at `address`, as a sweep does before it starts; Ray is started from `folder`.

    Raises InvalidInput where no cluster answers.
    """
    with kept_if_used(folder), runtime.connected(folder, address=address):
        return examine_nodes(question)


@contextlib.contextmanager
def kept_if_used(folder: Path) -> Iterator[None]:
    """Make `folder` for the time of the block; delete it afterwards if it is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def check_nodes(question: NodeQuestion) -> None:
    """Raise InvalidInput naming every node that could not run the trials of a sweep, and why."""
    bad = [report for report in examine_nodes(question) if report.complaints]
    if bad:
        lines = [f"node {report.name}: {complaint}" for report in bad for complaint in report.complaints]
        raise InvalidInput("\n".join(lines))


def examine_nodes(question: NodeQuestion) -> list[NodeReport]:
    """Check every node of the joined cluster.

    The run folder of the question must exist, on the driver at least. Test files that are written there are deleted
    again.
    """
    token = None if question.run is None else Path(question.run, question.token)
    if token is not None:
        token.touch()
    try:
        nodes = living_nodes()
        asked = [ask(question, found) for found in nodes]
        ray.wait(asked, num_returns=len(asked), timeout=TIMEOUT)
        answers = [_answer(reference) for reference in asked]
        reports = [report(question, found, answer) for found, answer in zip(nodes, answers, strict=True)]
        # A node that was switched off during the check, or shortly before, no longer belongs to the cluster.
        there = {found["NodeID"] for found in living_nodes()}
        return [each for each, found in zip(reports, nodes, strict=True) if found["NodeID"] in there]
    finally:
        if token is not None:
            token.unlink()


def living_nodes() -> list[RayNode]:
    """Return the nodes of the cluster, as Ray describes them."""
    return [found for found in ray.nodes() if found["Alive"]]  # type: ignore[no-untyped-call]


def node_name(found: RayNode) -> str:
    """Return a node's address and the first digits of its id: one machine may run several nodes."""
    return f"{found['NodeManagerAddress']} ({found['NodeID'][:8]})"


def ask(question: NodeQuestion, found: RayNode) -> ray.ObjectRef[dict[str, Any]]:
    """Start the probe on a node; it takes no CPU there."""
    cloudpickle.register_pickle_by_value(node_probe)  # type: ignore[no-untyped-call]
    there = NodeAffinitySchedulingStrategy(found["NodeID"], soft=False)
    look = ray.remote(num_cpus=0, max_retries=0)(node_probe.probe_node).options(scheduling_strategy=there)
    return look.remote(asdict(question))


def report(question: NodeQuestion, found: RayNode, answer: dict[str, Any] | str) -> NodeReport:
    """Return the report on a node from its answer, or from the reason why there is no answer."""
    has = found["Resources"]
    try:
        return NodeReport(node_name(found), _node_text(has), tuple(_complaints(question, has, answer)))
    finally:
        if question.run is not None and isinstance(answer, dict) and answer["left"] is not None:
            Path(question.run, answer["left"]).unlink(missing_ok=True)


def _answer(reference: ray.ObjectRef[dict[str, Any]]) -> dict[str, Any] | str:
    try:
        return ray.get(reference, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return f"it has not answered within {TIMEOUT:.0f} s"
    except ray.exceptions.RayError as error:
        return str(error).strip().splitlines()[-1]


def _complaints(question: NodeQuestion, has: Mapping[str, float], answer: dict[str, Any] | str) -> Iterator[str]:
    if isinstance(answer, str):
        yield f"must answer, but {answer}; see the logs of Ray on it"
        return
    for name, version in node_probe.versions(question.packages).items():
        found = answer["versions"][name]
        # `2.9.0+cpu` and `2.9.0+cu128` are the same PyTorch for other devices.
        if str(found).partition("+")[0] != str(version).partition("+")[0]:
            yield (
                f"{name} must be {version} as on the driver, got {found} in {answer['executable']}; "
                "install the same thaw wheel, with its [train] extra, on every node"
            )
    for key in answer["unreadable"]:
        path = question.folders[key]
        yield f"{key} must be readable on every node, got nothing at {path}; mount it there, or copy it to that path"
    for key, reason in answer["unreachable"].items():
        yield (
            f"{key} must be within reach of every node, got at {question.buckets[key]}: {redact(reason)}; see to the "
            "network there, and to the credentials and AWS_ENDPOINT_URL in the environment in which Ray was started"
        )
    if answer["wrong_images"] and "data.root" not in answer["unreadable"]:
        yield (
            f"data.root must hold the driver's images, but {len(answer['wrong_images'])} of {len(question.images)} "
            f"looked at are missing or of another size, e.g. {answer['wrong_images'][0]}; copy the data set anew"
        )
    if question.run is not None:
        yield from _folder_complaints(Path(question.run), answer)
    if answer["cache_error"] is not None:
        yield f"storage.cache_dir must be writable, got {answer['cache_error']} at {question.cache}; choose another"
    elif answer["cache_free"] < ENOUGH_CACHE:
        yield (
            f"storage.cache_dir must have {ENOUGH_CACHE / 1e9:.0f} GB free, got {answer['cache_free'] / 1e9:.1f} GB at "
            f"{question.cache}; free some space, or choose another disk"
        )
    seen = answer["gpus"]
    if question.devices and _gpus(has) and (isinstance(seen, str) or seen < _gpus(has)):
        yield (
            f"PyTorch must see the {_gpus(has):g} GPUs that Ray counts, got {seen}; "
            "look at the driver with nvidia-smi, and install a PyTorch for its version"
        )


def _folder_complaints(run: Path, answer: Mapping[str, Any]) -> Iterator[str]:
    if not answer["sees_driver"]:
        yield (
            f"storage.root must be one folder that all nodes share, but what the driver has written to {run} is not "
            "there; mount the same folder on every node"
        )
    elif answer["left"] is None:
        yield f"storage.root must be writable on every node, but {run} is not; give its user the right to write there"
    elif not (run / answer["left"]).is_file():
        yield f"storage.root must show all nodes the same files at once, but {run} does not; mount it without caching"


def _gpus(has: Mapping[str, float]) -> float:
    return has.get("GPU", 0)


def _node_text(has: Mapping[str, float]) -> str:
    return f"{has.get('CPU', 0):g} CPU, {_gpus(has):g} GPU"

"""Ray, started or joined in a way that leaves the user's folder and our code apart."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Read by Ray when it is imported or started; a value the user has set wins.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # What Ray does anyway for a cluster it starts, but without a warning at every start.
    "RAY_AUTH_MODE": "token",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  (after its environment)

from orchestrator.spec import Resources  # noqa: E402
from search_spaces.errors import InvalidInput, ThawError  # noqa: E402


@contextlib.contextmanager
def connected(folder: Path, cpus: int | None = None) -> Iterator[None]:
    """Ray for the time of the block: the cluster at $RAY_ADDRESS where that is set, else one of our own.

    One that this process is already connected to is used and kept. Ray puts the driver's working directory into the
    import path of its workers, where a user's own folder named `analysis` would shadow ours: so it is started from
    `folder`, which is ours.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    # Without `local`, Ray would join whatever cluster it finds on this machine.
    own: dict[str, Any] = {} if address else {"num_cpus": cpus or _allowed_cores(), "include_dashboard": False}
    with contextlib.chdir(folder):
        try:
            ray.init(address=address or "local", log_to_driver=False, configure_logging=False, namespace="thaw", **own)
        except Exception as error:  # bare ones: it waits 30 s for its own processes, too little on a very busy machine
            where = f"answer at {address}" if address else "start on this machine"
            raise ThawError(f"Ray must {where}, got: {error} Try again, with `thaw resume {folder}`.") from error
    try:
        yield
    finally:
        ray.shutdown()


def concurrent_trials(resources: Resources) -> int:
    """How many trials of this size fit into the cluster at once, each with all of its workers.

    Raises InvalidInput when not one does, and no more nodes can come.
    """
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = [node["Resources"] for node in known if node["Alive"]]
    fits = sum(workers_on(node, resources) for node in nodes) // resources.workers
    # Private, because Ray has no public word for what a cluster may grow to. None where nothing grows it.
    if fits == 0 and ray._private.state.state.get_max_resources_from_cluster_config() is None:
        cores, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
        raise InvalidInput(
            f"resources: a trial must fit into the cluster, got workers: {resources.workers} with cpus_per_worker: "
            f"{resources.cpus_per_worker:g} and gpus_per_worker: {resources.gpus_per_worker:g}, but there are "
            f"{cores:g} CPU cores and {gpus:g} GPUs on {len(nodes)} node{'s'[: len(nodes) != 1]}, and a worker cannot "
            "be divided among nodes; set fewer or smaller workers, or join a larger cluster by RAY_ADDRESS"
        )
    return max(1, fits)


def workers_on(node: Mapping[str, float], resources: Resources) -> int:
    """How many workers a node with these resources has room for."""
    by_cpu = _units(node.get("CPU", 0)) // _units(resources.cpus_per_worker)
    if not resources.gpus_per_worker:
        return by_cpu
    # A fraction is of one GPU: two rests do not make another.
    return min(by_cpu, int(node.get("GPU", 0)) * (_units(1) // _units(resources.gpus_per_worker)))


def _units(amount: float) -> int:
    """As Ray counts: in parts of ten thousand."""
    return max(1, round(amount * 10_000)) if amount else 0


def cluster_size() -> dict[str, float]:
    """What the cluster has in all, e.g. CPU and GPU; nothing while there is no connection."""
    if not ray.is_initialized():
        return {}
    size: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return size


def _allowed_cores() -> int | None:
    """The cores this process may use where they are fewer than the machine's, which is what Ray counts; else None."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return allowed if allowed != os.cpu_count() else None

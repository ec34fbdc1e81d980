"""Ray, started or joined in a way that leaves the user's folder and our code apart."""

import contextlib
import os
from collections.abc import Iterator
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

from search_spaces.errors import ThawError  # noqa: E402


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


def concurrent_trials(cpus: float, gpus: float) -> int:
    """How many trials of this size fit into the cluster at once, at least one."""
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    by_cpu = int(there.get("CPU", 1) / cpus)
    by_gpu = int(there.get("GPU", 0) / gpus) if gpus else by_cpu
    return max(1, min(by_cpu, by_gpu))


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

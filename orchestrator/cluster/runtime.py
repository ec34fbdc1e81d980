"""Runtime: Ray, started or joined so that the user's folder cannot shadow our code."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from orchestrator.cluster.limits import allowed_cores
from orchestrator.cluster.ray_leftovers import ended_with_driver
from search_spaces.errors import InvalidInput, ThawError

KNOCK_SECONDS = 10


def joined_address(address: str | None) -> str | None:
    """Return the cluster to join: `address`, else $RAY_ADDRESS; None for a Ray of our own.

    Raises InvalidInput for an address of another kind: a sweep's driver is a process of the cluster, because it shares
    the cluster's folders.
    """
    wanted = address or os.environ.get("RAY_ADDRESS") or "local"
    if "://" in wanted:
        raise InvalidInput(
            f"--address: must be `auto` or HOST:PORT of the cluster that this machine is a node of, got {wanted}; "
            "from another machine, hand the sweep over: thaw submit SWEEP.yaml --address http://HOST:8265"
        )
    if wanted not in ("auto", "local") and not wanted.rpartition(":")[2].isdecimal():
        raise InvalidInput(
            f"--address: must be `auto` or HOST:PORT, got {wanted}; Ray's own port is 6379: {wanted.rstrip(':')}:6379"
        )
    return None if wanted == "local" else wanted


def is_joined(address: str | None) -> bool:
    """Return whether a sweep with this `address` joins a cluster, whose nodes may join and leave."""
    return joined_address(address) is not None


@contextlib.contextmanager
def connected(folder: Path, cpus: int | None = None, address: str | None = None) -> Iterator[None]:
    """Connect to Ray for the block: the cluster at `address` or $RAY_ADDRESS, where one is set, else one of our own.

    A Ray that this process is already connected to is used and kept. Ray puts the driver's working directory into the
    import path of its workers, where a user's folder named `analysis` would shadow ours: so Ray is started from
    `folder`, which is ours. Raises InvalidInput where no cluster answers at the address.
    """
    if ray.is_initialized():
        yield
        return
    joined = joined_address(address)
    # Without `local`, Ray would join any cluster that it finds on this machine.
    own: dict[str, Any] = {} if joined else {"num_cpus": cpus or _allowed_cores(), "include_dashboard": False}
    with contextlib.chdir(folder), _without_warnings():
        try:
            if joined and joined != "auto":
                _knock(joined)
            ray.init(address=joined or "local", log_to_driver=False, configure_logging=False, namespace="thaw", **own)
        except Exception as error:  # a bare one: Ray waits 30 s for its processes, too little on a busy machine
            if joined:
                raise InvalidInput(
                    f"--address: a Ray cluster must answer, got nothing at {joined}: {str(error).rstrip('.')}. "
                    "Is this machine a node of it, with its token? `ray status` asks the same."
                ) from error
            raise ThawError(
                f"Ray must start on this machine, got: {error} Try again, with `thaw resume {folder}`."
            ) from error
    with ended_with_driver():
        try:
            yield
        finally:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where no process listens at HOST:PORT; Ray itself would wait there for many minutes."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS):
        pass


def cluster_size() -> dict[str, float]:
    """Return the total resources of the cluster, e.g. CPU and GPU; empty while there is no connection."""
    if not ray.is_initialized():
        return {}
    size: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return size


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress the warning of Ray, at every start of its own cluster, that a token protects it."""
    logger = logging.getLogger("ray")
    former = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(former)


def _allowed_cores() -> int | None:
    """Return the cores this process may use where they are fewer than the machine's, which Ray counts; else None."""
    allowed = allowed_cores()
    return allowed if allowed != os.cpu_count() else None


def nodes_now() -> list[dict[str, float]]:
    """Return the total resources of each living node of the cluster, e.g. {"CPU": 4, "GPU": 1}."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]

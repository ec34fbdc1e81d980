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
from orchestrator.cluster.local_ray import local_ray
from search_spaces.errors import InvalidInput, ThawError
from search_spaces.shell import thaw_command

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
    with contextlib.ExitStack() as stack:
        with contextlib.chdir(folder), _quiet():
            stack.enter_context(_joined(joined) if joined else _own(folder, cpus))
        yield


@contextlib.contextmanager
def _joined(address: str) -> Iterator[None]:
    try:
        if address != "auto":
            _knock(address)
        ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="thaw")
    except Exception as error:  # Ray has no class for it
        raise InvalidInput(
            f"--address: a Ray cluster must answer, got nothing at {address}: {str(error).rstrip('.')}. "
            "Is this machine a node of it, with its token? `ray status` asks the same."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _own(folder: Path, cpus: int | None) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(local_ray(cpus or _allowed_cores()))
        except ThawError as error:
            known = (folder / "run.json").is_file()
            remedy = f"continue the run with `{thaw_command('resume', folder)}`" if known else "run the command again"
            raise type(error)(f"{error}; {remedy}") from error
        yield


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
def _quiet() -> Iterator[None]:
    """Suppress Ray's warning at every start that a token protects it, and its tracebacks; errors are raised."""
    logger = logging.getLogger("ray")
    former = logger.level
    logger.setLevel(logging.CRITICAL + 1)
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

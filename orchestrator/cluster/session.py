"""Session: Ray for the time of a block, with every node ready for the trials of a sweep."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import ray

from orchestrator.cluster import runtime
from orchestrator.cluster.capacity import check_fit
from orchestrator.cluster.node_checks import check_nodes, kept_if_used
from orchestrator.cluster.node_probe import NodeQuestion
from orchestrator.spec.sections import Resources


@contextlib.contextmanager
def open_session(
    folder: Path, resources: Resources, question: Callable[[], NodeQuestion], address: str | None
) -> Iterator[None]:
    """Connect to the cluster at `address`, or at $RAY_ADDRESS, else to a Ray of our own, for the time of the block.

    `folder` is this node's folder of the run, from which Ray is started. A Ray that this process is already connected
    to is used and kept, and its nodes are not checked. Raises InvalidInput for a node that is not ready and for trials
    that fit nowhere, and leaves no files behind.
    """
    grows = runtime.is_joined(address)
    if ray.is_initialized():
        if not grows:
            check_fit(resources, runtime.nodes_now(), grows=False)
        yield
        return
    with kept_if_used(folder), runtime.connected(folder, address=address):
        if grows:
            check_nodes(question())
        check_fit(resources, runtime.nodes_now(), grows=grows)
        yield

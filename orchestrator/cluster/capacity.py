"""Capacity: number of trials that fit on the nodes of a cluster at once. Arithmetic only, without Ray."""

import logging
from collections.abc import Mapping, Sequence

from orchestrator.spec.sections import Resources
from search_spaces.errors import InvalidInput

_ACCELERATOR = "accelerator_type:"

log = logging.getLogger(__name__)


Bundle = Mapping[str, float]
"""Resources by Ray's names, e.g. {"CPU": 4, "GPU": 1}: of one process, or of one node."""


def trial_bundles(resources: Resources) -> list[dict[str, float]]:
    """Return the resources of each process of a trial."""
    return [{"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker} for _ in range(resources.workers)]


def check_fit(resources: Resources, nodes: Sequence[Bundle], *, grows: bool) -> None:
    """Raise InvalidInput when no trial fits on `nodes`; where more nodes may join, log a warning instead."""
    bundles = trial_bundles(resources)
    if fitting(bundles, nodes):
        return
    wanted = " + ".join(_bundle_text(bundle) for bundle in bundles)
    largest = max((_bundle_text(node) for node in nodes), default="nothing")
    if not grows:
        raise InvalidInput(
            f"resources: a trial must fit on this machine, got {wanted} for one, and {largest} here; "
            "lower resources.workers, cpus_per_worker or gpus_per_worker"
        )
    log.warning("no node has room for a trial (%s) yet: waiting for one that has; Ctrl-C ends that", wanted)


def fitting(bundles: Sequence[Bundle], nodes: Sequence[Bundle]) -> int:
    """Return how many trials fit at once; a trial needs all of `bundles`, each on one node."""
    free = [dict(node) for node in nodes]
    if len(bundles) == 1:
        return sum(_times(bundles[0], node) for node in free)
    count = 0
    while all(_take(bundle, free) for bundle in bundles):
        count += 1
    return count


def node_kind(node: Bundle) -> frozenset[tuple[str, float]]:
    """Return the resources that make nodes alike: cores, GPUs, and the type of the GPUs where Ray knows it."""
    return frozenset(
        (name, amount) for name, amount in node.items() if name in ("CPU", "GPU") or name.startswith(_ACCELERATOR)
    )


def node_text(node: Bundle) -> str:
    """Return a node's resources for trials, with the type of its GPUs where Ray knows it."""
    types = [name.removeprefix(_ACCELERATOR) for name in node if name.startswith(_ACCELERATOR)]
    return f"{_bundle_text(node)}{''.join(f' {each}' for each in types)}"


def _bundle_text(resources: Bundle) -> str:
    return f"{resources.get('CPU', 0):g} CPU and {resources.get('GPU', 0):g} GPU"


def _times(bundle: Bundle, node: Bundle) -> int:
    return min(_fitting(node.get(name, 0), amount, shared=name == "GPU") for name, amount in bundle.items() if amount)


def _fitting(there: float, amount: float, *, shared: bool) -> int:
    """Return how often `amount` fits; a fraction must lie on one GPU: the rests of two GPUs do not add up."""
    # Fractions do not add up exactly.
    if shared and amount < 1:
        return int(there) * int(1 / amount + 1e-9)
    return int(there / amount + 1e-9)


def _take(bundle: Bundle, free: list[dict[str, float]]) -> bool:
    for node in free:
        if _times(bundle, node):
            for name, amount in bundle.items():
                node[name] = node.get(name, 0) - amount
            return True
    return False

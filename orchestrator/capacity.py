"""How many trials the nodes of a cluster can run at once, and a limit that follows nodes as they come and go."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator import ray_runtime  # noqa: F401  (sets Ray's environment)
from orchestrator.gang import placement
from orchestrator.sections import Resources as TrialResources
from search_spaces.errors import InvalidInput

import ray  # isort: skip
from ray.tune.search import ConcurrencyLimiter, Searcher  # isort: skip

log = logging.getLogger(__name__)

REFRESH_SECONDS = 2.0

Resources = Mapping[str, float]


def limited(searcher: Searcher, resources: TrialResources, most: int, *, follow: bool) -> ConcurrencyLimiter:
    """`searcher` with a limit on the trials under way: `resources.concurrent`, or as many as fit.

    With `follow`, on a cluster whose nodes come and go, a limit that was given holds whatever is there now: what does
    not fit waits, and makes a cluster that scales start as many nodes.
    """
    bundles, given = placement(resources).bundles, resources.concurrent
    if not follow:
        fits = fitting(bundles, nodes_now())
        return ConcurrencyLimiter(searcher, max_concurrent=min(fits, given or fits))
    if given is not None:
        return ConcurrencyLimiter(searcher, max_concurrent=given)
    return NodeLimiter(searcher, lambda: fitting(bundles, nodes_now()), most)


def check_fit(resources: TrialResources, *, grows: bool) -> None:
    """Raise InvalidInput when no trial fits on the nodes of the moment; where more may come, only say so."""
    bundles, nodes = placement(resources).bundles, nodes_now()
    if fitting(bundles, nodes):
        return
    wanted = " + ".join(_words(bundle) for bundle in bundles)
    largest = max((_words(node) for node in nodes), default="nothing")
    if not grows:
        raise InvalidInput(
            f"resources: a trial must fit on this machine, got {wanted} for one, and {largest} here; "
            "lower resources.workers, cpus_per_worker or gpus_per_worker"
        )
    log.warning("no node has room for a trial (%s) yet: waiting for one that has; Ctrl-C ends that", wanted)


def fitting(bundles: Sequence[Resources], nodes: Sequence[Resources]) -> int:
    """How many trials fit at once, each of which needs all of `bundles`, and each bundle on one node."""
    free = [dict(node) for node in nodes]
    if len(bundles) == 1:
        return sum(_times(bundles[0], node) for node in free)
    count = 0
    while all(_take(bundle, free) for bundle in bundles):
        count += 1
    return count


def nodes_now() -> list[Resources]:
    """What each living node of the cluster has in all, e.g. {"CPU": 4, "GPU": 1}."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


class NodeLimiter(ConcurrencyLimiter):
    """Lets a searcher have as many trials under way as fit on the nodes of the moment, and one more.

    The one more waits for room. Where the cluster scales by itself, that makes it start the next node, up to its own
    maximum; where it does not, one proposal is made a little early. A proposal for every node that might come would be
    made with nothing learned.
    """

    def __init__(self, searcher: Searcher, fits: Callable[[], int], most: int) -> None:
        super().__init__(searcher, max_concurrent=most)
        self._fits = fits
        self._limit, self._looked = 1, -math.inf

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The searcher's next trial; None while there is no room for one."""
        if time.monotonic() - self._looked > REFRESH_SECONDS:
            self._limit, self._looked = self._fits() + 1, time.monotonic()
        return super().suggest(trial_id) if len(self.live_trials) < self._limit else None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher, but a resumed sweep is rebuilt from the ledger alone."""
        return {}

    get_state = __getstate__


def _words(resources: Resources) -> str:
    return f"{resources.get('CPU', 0):g} CPU and {resources.get('GPU', 0):g} GPU"


def _times(bundle: Resources, node: Resources) -> int:
    return min(_fitting(node.get(name, 0), amount, shared=name == "GPU") for name, amount in bundle.items() if amount)


def _fitting(there: float, amount: float, *, shared: bool) -> int:
    """How often `amount` fits; a fraction of a GPU is of one GPU: two rests do not make another."""
    # Fractions do not add up exactly.
    if shared and amount < 1:
        return int(there) * int(1 / amount + 1e-9)
    return int(there / amount + 1e-9)


def _take(bundle: Resources, free: list[dict[str, float]]) -> bool:
    for node in free:
        if _times(bundle, node):
            for name, amount in bundle.items():
                node[name] = node.get(name, 0) - amount
            return True
    return False

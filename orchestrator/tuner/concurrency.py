"""Concurrency: limit on the trials under way, which follows the nodes of a cluster."""

import math
import time
from collections.abc import Callable
from typing import Any

from ray.tune.search import ConcurrencyLimiter, Searcher

from orchestrator.cluster.capacity import fitting, trial_bundles
from orchestrator.cluster.runtime import nodes_now
from orchestrator.spec.sections import Resources

REFRESH_SECONDS = 2.0


def limited(searcher: Searcher, resources: Resources, most: int, *, follow: bool) -> ConcurrencyLimiter:
    """Return `searcher` with a limit on the trials under way: `resources.concurrent`, or as many as fit.

    With `follow`, on a cluster whose nodes join and leave, a given limit holds whatever nodes there are now. Trials
    that do not fit wait, and make a cluster that scales start enough nodes.
    """
    bundles, given = trial_bundles(resources), resources.concurrent
    if not follow:
        fits = fitting(bundles, nodes_now())
        return ConcurrencyLimiter(searcher, max_concurrent=min(fits, given or fits))
    if given is not None:
        return ConcurrencyLimiter(searcher, max_concurrent=given)
    return NodeLimiter(searcher, lambda: fitting(bundles, nodes_now()), most)


class NodeLimiter(ConcurrencyLimiter):
    """NodeLimiter: allows as many trials under way as fit on the present nodes, and one more.

    The additional trial waits for room. Where the cluster scales by itself, the waiting trial makes it start the next
    node, up to its own maximum. Where it does not, one proposal is made a little early. A proposal for every possible
    node would be made with nothing learned.
    """

    def __init__(self, searcher: Searcher, fits: Callable[[], int], most: int) -> None:
        super().__init__(searcher, max_concurrent=most)
        self._fits = fits
        self._limit, self._looked = 1, -math.inf

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the searcher's next trial; None while there is no room for one."""
        if time.monotonic() - self._looked > REFRESH_SECONDS:
            self._limit, self._looked = self._fits() + 1, time.monotonic()
        return super().suggest(trial_id) if len(self.live_trials) < self._limit else None

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its searcher, but a resumed sweep is rebuilt from the ledger alone."""
        return {}

    get_state = __getstate__

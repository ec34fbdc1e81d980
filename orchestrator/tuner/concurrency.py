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
    """`searcher` with a limit on the trials under way: `resources.concurrent`, or as many as fit.

    With `follow`, on a cluster whose nodes come and go, a limit that was given holds whatever is there now: what does
    not fit waits, and makes a cluster that scales start as many nodes.
    """
    bundles, given = trial_bundles(resources), resources.concurrent
    if not follow:
        fits = fitting(bundles, nodes_now())
        return ConcurrencyLimiter(searcher, max_concurrent=min(fits, given or fits))
    if given is not None:
        return ConcurrencyLimiter(searcher, max_concurrent=given)
    return NodeLimiter(searcher, lambda: fitting(bundles, nodes_now()), most)


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

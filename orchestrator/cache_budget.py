"""How much of a node's disk the cache may occupy: the sweep file says it, or the node's own environment."""

import os
from collections.abc import Mapping

from orchestrator.sections import Storage
from search_spaces.validation import parse


def cache_budget(configured: int | None, environment: Mapping[str, str] = os.environ) -> int | None:
    """The bytes of the node-local cache: as configured, else $THAW_CACHE_BUDGET, else None: what NodeCache chooses.

    Raises InvalidInput for a variable that is no number of bytes.
    """
    wanted = environment.get("THAW_CACHE_BUDGET")
    if configured is not None or not wanted:
        return configured
    return parse(Storage, {"cache_budget": wanted}, "$THAW_CACHE_BUDGET").cache_budget

"""SearchProblem: the part of a sweep that decides which points are tried."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.spec.sections import Search
from search_spaces.space import SearchSpace
from trainables.config import Objective, TrialConfig


@dataclass(frozen=True)
class SearchProblem:
    """SearchProblem: space, sampler and objective of a sweep."""

    space: SearchSpace
    """Points that may be tried."""

    search: Search
    """Sampler, number of trials and seed."""

    objective: Objective
    """Metric that is optimized."""

    configure: Callable[[Mapping[str, Any]], TrialConfig]
    """Configuration of a point; raises InvalidInput for a point that cannot be trained."""

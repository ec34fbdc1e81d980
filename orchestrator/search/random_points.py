"""Random points of a search by TPE, chosen so that it costs little to judge each of them.

TPE by itself often proposes points that it knows. So, as in BOHB (Falkner et al., arXiv 1807.01774; one in three
there), every other trial is drawn at random.

The draw keeps the cost low until a trial is judged. The price of a trial is its training FLOPs until it can be stopped
for the first time. Of several random points, the cheapest is tried. That is the idea of cost-effective initial designs
(Lee et al., arXiv 2003.10870), here for every draw. A large architecture that trains from its first epoch on, or a
trial that thaws late, costs many times as much as a frozen head until it is judged. Prices below a share of the dearest
count as equal. Otherwise frozen heads, which are almost free, would be drawn all the time.

Measured on the one table on which the constants below were chosen. Drawing every trial this way, without TPE, is as
good there and on two other benchmarks: `benchmarks/search/search_quality.md`.
"""

from collections.abc import Callable

import numpy as np

from orchestrator.search.novelty import TriedPoints
from orchestrator.search.rungs import Rungs, flops_by_epoch
from orchestrator.search.samplers import seed_of
from orchestrator.spec.search_problem import SearchProblem
from search_spaces.space import Point, sample
from trainables.config import TrialConfig

EVERY = 2
"""One in this many trials is drawn."""

DRAWS = 4
"""Points drawn, of which one is taken."""

ALIKE = 4
"""Divisor of the dearest price of those points: prices below the result count as equal."""

Price = Callable[[TrialConfig], float]


def price_function(rungs: Rungs | None) -> Price:
    """Return a function for a trial's training FLOPs until the first rung that judges it; all FLOPs where none does."""
    if rungs is None:
        return lambda config: sum(flops_by_epoch(config))
    return lambda config: sum(rungs.flops(config)[: rungs.first_judged_epoch(config)])


def random_point(problem: SearchProblem, number: int, price: Price, tried: TriedPoints | None = None) -> Point | None:
    """Return the point of trial `number` where it is drawn, the same for the same seed; None for the sampler's trials.

    A point that has been `tried` is drawn only where nothing else is found.
    """
    if problem.search.sampler != "tpe" or (number + 1) % EVERY:
        return None
    space, seed = problem.space, seed_of(problem.search, number)
    new = [] if tried is None else tried.new_points(seed, DRAWS)
    points = new or sample(space, DRAWS, seed)
    prices = [price(problem.configure(point)) for point in points]
    alike = max(prices) / ALIKE
    return points[int(np.argmin([max(each, alike) for each in prices]))]

"""The points that a search by TPE draws at random, and what it costs to see whether one of them is any good.

TPE by itself often proposes what it knows again. So, as in BOHB (Falkner et al., arXiv 1807.01774; one in three there),
every other trial is drawn.

And drawn so that little is spent before something is known: a trial has a price, its training FLOPs until it can be
stopped for the first time, and of several points that chance proposes the cheapest is tried. That is the idea of
cost-effective initial designs (Lee et al., arXiv 2003.10870), here for every draw: a large architecture that trains
from its first epoch on, or a trial that thaws late, takes many times what a frozen head takes until it is judged. Below
a part of the dearest a price makes no difference, or frozen heads, all but free, would be drawn all the time.

Measured on the one table on which the constants below were chosen. Drawing every trial this way, without TPE, is as
good there and on two other benchmarks: `benchmarks/search/search_quality.md`.
"""

from collections.abc import Callable

import numpy as np
import optuna

from orchestrator.search.novelty import TriedPoints
from orchestrator.search.rungs import Rungs, flops_by_epoch
from orchestrator.search.samplers import seed_of
from orchestrator.spec.search_problem import SearchProblem
from search_spaces.space import Point, sample
from trainables.config import TrialConfig

EVERY = 2
"""One of so many trials is drawn."""

DRAWS = 4
"""Points of which one is taken."""

ALIKE = 4
"""Prices below the dearest of those points, divided by this, are alike."""

Price = Callable[[TrialConfig], float]


def price_function(rungs: Rungs | None) -> Price:
    """Training FLOPs of a trial until the first rung at which it is judged; all of them where there is none."""
    if rungs is None:
        return lambda config: sum(flops_by_epoch(config))
    return lambda config: sum(rungs.flops(config)[: rungs.first_judged_epoch(config)])


def random_point(problem: SearchProblem, number: int, price: Price, study: optuna.Study | None = None) -> Point | None:
    """The point of trial `number` where it is drawn, the same for the same seed; None where the sampler proposes it.

    What `study` has tried is drawn only where nothing else comes up.
    """
    if problem.search.sampler != "tpe" or (number + 1) % EVERY:
        return None
    space, seed = problem.space, seed_of(problem.search, number)
    new = [] if study is None else TriedPoints(study, space).new_points(seed, DRAWS)
    points = new or sample(space, DRAWS, seed)
    prices = [price(problem.configure(point)) for point in points]
    alike = max(prices) / ALIKE
    return points[int(np.argmin([max(each, alike) for each in prices]))]

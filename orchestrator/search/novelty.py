"""Novelty: proposals that were tried already, or are near such a point, are replaced by new points.

The same configuration trains to the same scores, and a near one to nearly the same. TPE returns to the neighborhood of
its best trials. Late in a sweep most of its proposals are known already, except for a digit of the learning rate. Such
a proposal is replaced by the nearest new one of many draws: the search stays in the good region, and tries new points
there. Measured on one table only. Its few learning rates make many near points the same one, and `NEAR` was chosen on
it: `benchmarks/search/search_quality.md`.
"""

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from orchestrator.search.optuna_space import distributions, to_parameters
from search_spaces.space import Branch, Point, SearchSpace

NEAR = 0.1
"""Share of a range, or of its logarithm: numbers closer than that are alike."""

CHANCES = 64
"""Points drawn in search of new ones."""

LISTED = 10_000
"""Number of points up to which a point that is left is always found."""

Position = tuple[tuple[Any, ...], tuple[float, ...]]
"""Choices, and names of numbers; the numbers, as shares of their ranges."""


class TriedPoints:
    """TriedPoints: parameters, by Optuna's names, of the trials that a run has had, and the points near them.

    It lasts for a sweep, and each trial is added to it. The best points of another run are not added: they are tried
    again, since their results are not trials of this run.
    """

    def __init__(self, space: SearchSpace, points: Iterable[Point] = ()) -> None:
        """Begin with the `points` of the trials so far."""
        self.space = space
        self._known = distributions(space)
        self._own: dict[tuple[Any, ...], _Positions] = {}
        self._left: list[Point] | None = None
        for point in points:
            self.add(point)

    def add(self, point: Point) -> None:
        """Add the point of a trial."""
        kind, numbers = self._place(to_parameters(self.space, point))
        self._own.setdefault(kind, _Positions(len(numbers))).append(numbers)

    def __contains__(self, parameters: Mapping[str, Any]) -> bool:
        kind, numbers = self._place(parameters)
        return kind in self._own and self._own[kind].has_near(numbers)

    def new_points(self, seed: int, count: int) -> list[Point]:
        """Draw at most `count` random points that have not been tried, the same for the same seed."""
        found = list(islice(self._new(islice(self.space.draws(seed), CHANCES)), count))
        if found:
            return found
        left = self._points_left()
        return random.Random(seed).sample(left, min(count, len(left)))

    def distance(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
        """Return the number of choices that differ, plus the difference of each number as a share of its range."""
        return sum(self._apart(name, one.get(name), other.get(name)) for name in one.keys() | other.keys())

    def _points_left(self) -> list[Point]:
        """List the points of a small countable space that have not been tried; none of another space."""
        if self._left is None:
            size = self.space.size()
            self._left = [] if size is None or size > LISTED else list(self.space.grid())
        self._left = list(self._new(self._left))  # a point that has been tried stays so: the list only shrinks
        return self._left

    def _apart(self, name: str, one: Any, other: Any) -> float:
        distribution = self._known[name]
        if one is None or other is None or not isinstance(distribution, FloatDistribution | IntDistribution):
            return float(one != other)
        return abs(_share(distribution, one) - _share(distribution, other))

    def _new(self, points: Iterable[Point]) -> Iterator[Point]:
        return (point for point in points if to_parameters(self.space, point) not in self)

    def _place(self, parameters: Mapping[str, Any]) -> Position:
        kind: list[Any] = []
        numbers: list[float] = []
        for name, value in sorted(parameters.items()):
            distribution = self._known[name]
            if isinstance(distribution, FloatDistribution | IntDistribution):
                kind.append(name)
                numbers.append(_share(distribution, value))
            else:
                kind.append((name, value))
        return tuple(kind), tuple(numbers)


class _Positions:
    """Numbers of the trials of one kind, a row each, in an array that doubles where it is full."""

    def __init__(self, width: int) -> None:
        self._rows = np.empty((16, width))
        self._count = 0

    def append(self, numbers: tuple[float, ...]) -> None:
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = numbers
        self._count += 1

    def has_near(self, numbers: tuple[float, ...]) -> bool:
        """Return whether a row differs from `numbers` by at most NEAR in each of them."""
        return bool((np.abs(self._rows[: self._count] - np.asarray(numbers)) <= NEAR).all(axis=1).any())


def _share(distribution: FloatDistribution | IntDistribution, value: float) -> float:
    """Return the position of a number in its range: 0 at its low end, 1 at its high end."""
    low, high, at = (
        math.log(each) if distribution.log else float(each) for each in (distribution.low, distribution.high, value)
    )
    return (at - low) / (high - low) if high > low else 0.0


class NoveltySampler(optuna.samplers.BaseSampler):
    """NoveltySampler: proposes the point of another sampler or, where that has been tried, a new point near it.

    In a space with no new point left it repeats points, as the other sampler would.
    """

    def __init__(self, sampler: optuna.samplers.BaseSampler, tried: TriedPoints, seed: int) -> None:
        """Wrap `sampler`; `seed` decides the draws."""
        self.sampler = sampler
        self.tried = tried
        self.space = tried.space
        self.seed = seed
        self._modelled: dict[str, BaseDistribution] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return all parameters; a point sets those that apply to it."""
        self._modelled = self.sampler.infer_relative_search_space(study, trial)
        return distributions(self.space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of a point, or of a part of one where the other sampler does not know all of it yet."""
        proposed = self.sampler.sample_relative(study, trial, self._modelled)
        if not proposed:  # the other sampler has too few trials
            new = self.tried.new_points(self.seed, count=1)
            return dict(to_parameters(self.space, new[0])) if new else {}
        parameters = self._applying(proposed)
        if parameters is None or parameters not in self.tried:
            return parameters or proposed
        random_point = [dict(to_parameters(self.space, point)) for point in self.tried.new_points(self.seed, CHANCES)]
        return min(random_point, key=lambda each: self.tried.distance(each, parameters), default=parameters)

    def _applying(self, proposed: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the parameters that apply to a point, without those of other branches; None where some are missing."""

        def value(name: str, branch: Branch) -> Any:
            return proposed[branch.label(name)]

        try:
            return dict(to_parameters(self.space, self.space.walk(value)))
        except KeyError:
            return None

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a value of a parameter that was not proposed."""
        return self.sampler.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Reseed the other sampler."""
        self.sampler.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Notify the other sampler that a trial begins."""
        self.sampler.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Notify the other sampler that a trial has ended."""
        self.sampler.after_trial(study, trial, state, values)

"""Proposals: the one place that decides which point is tried next."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from orchestrator.search.novelty import NoveltySampler
from orchestrator.search.optuna_space import suggest, to_parameters
from orchestrator.search.random_points import Price, random_point
from orchestrator.search.samplers import make_sampler, seed_of
from orchestrator.search.study import locate_trial
from orchestrator.spec.search_problem import SearchProblem
from orchestrator.spec.sweep_spec import DEFAULT_RECIPE, THAWS
from search_spaces.space import Point, point_with
from trainables.result import TrialResult

_HOW_TO_THAW = ("strategy", "norm_stats", "head_init")


@dataclass(frozen=True)
class Proposal:
    """Proposal: the trial to run next."""

    trial: TrialResult
    """New trial, or an unfinished one of the run with the epochs that it has."""

    asked: optuna.Trial
    """Same trial in the study."""


class Proposals:
    """Proposals: the next trial, from the first of these sources that has one:

    1. unfinished trials of the run, which continue at their own points;
    2. the points of the sweep file;
    3. the points of a grid, in order;
    4. each probed architecture, best first, thawed from its probe and as usual where the space has both; without a
       probe, the default recipe;
    5. every other trial under TPE: the cheapest of a few random points;
    6. the sampler; under TPE, its proposal or the nearest new point.

    `starting_points` lists sources 2 to 4.
    """

    def __init__(
        self,
        problem: SearchProblem,
        study: optuna.Study,
        known: Sequence[TrialResult],
        starting: Iterable[Point],
        price: Price,
        first_number: int = 0,
    ) -> None:
        """Keep the sources; `known` are the trials of the run so far, `starting` the points of sources 2 to 4.

        A new trial has at least the number `first_number`: the record of an earlier one may be damaged.
        """
        self._problem = problem
        self._study = study
        self._price = price
        self._unfinished = deque(trial for trial in known if trial.status.unfinished)
        self._starting = deque(starting)
        for point in (locate_trial(problem, trial) for trial in known):
            if point is not None and point in self._starting:
                self._starting.remove(point)
        self._next_number = max((first_number, *(1 + int(trial.trial_id) for trial in known)))

    @property
    def remaining(self) -> int:
        """Number of trials still to come."""
        return len(self._unfinished) + max(0, self._problem.search.trials - self._next_number)

    def next(self) -> Proposal | None:
        """Return the next trial; None when all have been handed out."""
        if self._unfinished:
            trial = self._unfinished.popleft()
            return Proposal(trial, self._ask(locate_trial(self._problem, trial), int(trial.trial_id))[0])
        number = self._next_number
        if number >= self._problem.search.trials:
            return None
        self._next_number += 1
        given = self._starting.popleft() if self._starting else None
        given = given or random_point(self._problem, number, self._price, self._study)
        asked, point = self._ask(given, number)
        config = self._problem.configure(point)
        return Proposal(TrialResult(trial_id=f"{number:04d}", config=config, parameters=dict(point)), asked)

    def _ask(self, point: Mapping[str, Any] | None, number: int) -> tuple[optuna.Trial, Point]:
        """Ask the study for a trial at the given point, or at the sampler's choice for trial `number`."""
        space, search = self._problem.space, self._problem.search
        sampler = make_sampler(search, number)
        novel = search.sampler == "tpe"
        self._study.sampler = NoveltySampler(sampler, space, seed_of(search, number)) if novel else sampler
        if point is not None:
            self._study.enqueue_trial(to_parameters(space, point))
        asked = self._study.ask()
        if search.sampler == "nsga2":
            _ = asked.relative_params  # nsga2 counts a given point in its generation only after this access
        return asked, suggest(space, asked)


def starting_points(
    problem: SearchProblem,
    given: Sequence[Point],
    probed: Sequence[str],
) -> list[Point]:
    """List the points that are tried before random ones and the sampler's, at most `search.trials` of them.

    `given` are those of the sweep file and of a grid. `probed` are the probed architectures, best first. Each is tried
    by every recipe of THAWS, if the space has the first of them: a frozen head from the probe could tell nothing that
    the probe has not. Otherwise it is tried once, by the default recipe. They take at most half of the trials; the
    other half is the sampler's.
    """
    space, trials = problem.space, problem.search.trials
    if not probed:
        default = space.nearest_default(DEFAULT_RECIPE)
        return list(given)[:trials] or ([] if default is None else [default])
    points = (point for name in probed for point in _probed_points(problem, name))
    new = [point for point in points if point not in given]
    return [*given, *new[: max(1, trials // 2)]][:trials]


def _probed_points(problem: SearchProblem, architecture: str) -> list[Point]:
    """Return the points by which a probed architecture is tried first."""
    points = [_as_preferred(problem, {**thaw, "architecture": architecture}, _HOW_TO_THAW) for thaw in THAWS]
    if points[0] is None:
        plain = _as_preferred(problem, {**DEFAULT_RECIPE, "architecture": architecture}, ())
        points = [plain or point_with(problem.space, DEFAULT_RECIPE, "architecture", architecture)]
    return [point for point in points if point is not None]


def _as_preferred(problem: SearchProblem, preferred: Mapping[str, Any], names: Sequence[str]) -> Point | None:
    """Return the preferred point; None where its architecture, or its setting of one of `names`, is another."""
    point = problem.space.nearest_default(preferred)
    if point is None:
        return None
    config = problem.configure(point)
    return point if all(getattr(config, name) == preferred[name] for name in ("architecture", *names)) else None

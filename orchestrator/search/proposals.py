"""Proposals: the one place that decides which point is tried next."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from orchestrator.search.novelty import NoveltySampler, TriedPoints
from orchestrator.search.optuna_space import suggest, to_parameters
from orchestrator.search.random_points import Price, random_point
from orchestrator.search.samplers import make_sampler, seed_of
from orchestrator.search.study import locate_trial
from orchestrator.spec.search_problem import SearchProblem
from search_spaces.space import Point
from trainables.result import TrialResult


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

    `orchestrator/search/starting_points.py` lists sources 2 to 4.
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
        places = [(trial, locate_trial(problem, trial)) for trial in known]
        for _, point in places:
            if point is not None and point in self._starting:
                self._starting.remove(point)
        ended = (point for trial, point in places if point is not None and not trial.status.unfinished)
        self._tried = TriedPoints(problem.space, ended)
        self._next_number = max((first_number, *(1 + int(trial.trial_id) for trial in known)))

    @property
    def remaining(self) -> int:
        """Number of trials still to come."""
        return len(self._unfinished) + max(0, self._problem.search.trials - self._next_number)

    def next(self) -> Proposal | None:
        """Return the next trial; None when all have been handed out."""
        if self._unfinished:
            trial = self._unfinished.popleft()
            asked, point = self._ask(locate_trial(self._problem, trial), int(trial.trial_id))
            self._tried.add(point)
            return Proposal(trial, asked)
        number = self._next_number
        if number >= self._problem.search.trials:
            return None
        self._next_number += 1
        given = self._starting.popleft() if self._starting else None
        given = given or random_point(self._problem, number, self._price, self._tried)
        asked, point = self._ask(given, number)
        self._tried.add(point)
        config = self._problem.configure(point)
        return Proposal(TrialResult(trial_id=f"{number:04d}", config=config, parameters=dict(point)), asked)

    def _ask(self, point: Mapping[str, Any] | None, number: int) -> tuple[optuna.Trial, Point]:
        """Ask the study for a trial at the given point, or at the sampler's choice for trial `number`."""
        space, search = self._problem.space, self._problem.search
        sampler = make_sampler(search, number)
        novel = search.sampler == "tpe"
        self._study.sampler = NoveltySampler(sampler, self._tried, seed_of(search, number)) if novel else sampler
        if point is not None:
            self._study.enqueue_trial(to_parameters(space, point))
        asked = self._study.ask()
        if search.sampler == "nsga2":
            _ = asked.relative_params  # nsga2 counts a given point in its generation only after this access
        return asked, suggest(space, asked)

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import create_trial

from orchestrator.search.novelty import NEAR, NoveltySampler, TriedPoints
from orchestrator.search.optuna_space import distributions, suggest, to_parameters
from orchestrator.search.samplers import make_sampler
from orchestrator.spec.sections import Search
from search_spaces.space import SearchSpace, sample

SPACE = {
    "strategy": {"choice": ["head", "full"]},
    "lr": [
        {"log": [1e-3, 1e-1], "when": {"strategy": "head"}},
        {"log": [1e-4, 1e-2], "when": {"strategy": "full"}},
    ],
    "dropout": {"float": [0.0, 0.5]},
}
COUNTABLE = {
    "strategy": {"choice": ["head", "progressive"]},
    "unfreeze_epoch": {"int": [1, 3], "when": {"strategy": "progressive"}},
    "balance": {"choice": ["none", "loss", "sampler"]},
}


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace.parse(SPACE, {})


@pytest.fixture
def tried(space: SearchSpace) -> TriedPoints:
    """With one point of the space."""
    return TriedPoints(space, [{"strategy": "head", "lr": 1e-2, "dropout": 0.2}])


def trial_at(space: SearchSpace, point: dict[str, Any]) -> optuna.trial.FrozenTrial:
    parameters, known = to_parameters(space, point), distributions(space)
    return create_trial(params=parameters, distributions={name: known[name] for name in parameters}, value=0.5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        # A tenth of two decades, and of a half.
        ({"lr": 1e-2 * 10**0.19, "dropout": 0.24}, True),
        ({"lr": 1e-2 * 10**-0.19, "dropout": 0.16}, True),
        ({"lr": 1e-2 * 10**0.21}, False),
        ({"dropout": 0.26}, False),
        ({"strategy": "full"}, False),
    ],
)
def test_what_is_near_in_everything_is_tried(
    changes: dict[str, Any], expected: bool, tried: TriedPoints, space: SearchSpace
) -> None:
    assert NEAR == 0.1
    point = {"strategy": "head", "lr": 1e-2, "dropout": 0.2, **changes}
    assert (to_parameters(space, point) in tried) is expected


@given(st.integers(0, 10**6), st.integers(0, 60))
def test_a_point_is_tried_where_one_of_all_points_is_near_in_everything(seed: int, count: int) -> None:
    """Also after the arrays have grown: against a comparison of each pair."""
    space = SearchSpace.parse(SPACE, {})
    *points, asked = sample(space, count + 1, seed)
    ranges = {"head": (1e-3, 1e-1), "full": (1e-4, 1e-2)}

    def is_near(one: dict[str, Any], other: dict[str, Any]) -> bool:
        if one["strategy"] != other["strategy"]:
            return False
        low, high = ranges[one["strategy"]]
        decades = abs(math.log(one["lr"] / other["lr"])) / math.log(high / low)
        return decades <= NEAR and abs(one["dropout"] - other["dropout"]) / 0.5 <= NEAR

    tried = TriedPoints(space, points)
    assert (to_parameters(space, asked) in tried) is any(is_near(asked, point) for point in points)
    tried.add(asked)
    assert to_parameters(space, asked) in tried


def repeats(wrap: Callable[[optuna.samplers.BaseSampler, TriedPoints, int], Any], space: SearchSpace) -> int:
    """Number of 60 trials that were near one before them."""
    study, tried, count = optuna.create_study(direction="maximize"), TriedPoints(space), 0
    for number in range(60):
        study.sampler = wrap(make_sampler(Search(seed=1), number), tried, number)
        trial = study.ask()
        point = suggest(space, trial)
        assert space.validate(point) == point
        count += to_parameters(space, point) in tried
        tried.add(point)
        study.tell(trial, -abs(point["lr"] - 3e-3) + (point["strategy"] == "full"))
    return count


def test_tpe_comes_back_to_what_it_knows_and_does_not_where_it_may_not(space: SearchSpace) -> None:
    assert repeats(lambda sampler, tried, seed: sampler, space) > 10
    assert repeats(NoveltySampler, space) == 0


def test_a_countable_space_is_tried_whole_before_anything_twice() -> None:
    space = SearchSpace.parse(COUNTABLE, {})
    size = space.size()
    assert size == 12
    study, tried, points = optuna.create_study(direction="maximize"), TriedPoints(space), []
    for number in range(size + 4):
        assert len(tried.new_points(seed=number, count=1)) > 0 or number >= size
        study.sampler = NoveltySampler(make_sampler(Search(seed=2), number), tried, number)
        trial = study.ask()
        points.append(suggest(space, trial))
        tried.add(points[-1])
        study.tell(trial, float(len(points[-1])))
    assert len({str(point) for point in points[:size]}) == size
    assert all(space.validate(point) == point for point in points[size:]), "and then it goes on as it would"


def test_what_the_sampler_proposes_is_kept_where_it_is_new(space: SearchSpace, tried: TriedPoints) -> None:
    points = [{"strategy": "full", "lr": 1e-4 * 1.2**number, "dropout": 0.5} for number in range(20)]
    for point in points:
        tried.add(point)
    plain, wrapped = (
        optuna.create_study(sampler=sampler, direction="maximize")
        for sampler in (make_sampler(Search(seed=3)), NoveltySampler(make_sampler(Search(seed=3)), tried, seed=0))
    )
    for each in (plain, wrapped):
        each.add_trials([trial_at(space, point) for point in points])
    proposed = suggest(space, plain.ask())
    assert to_parameters(space, proposed) not in tried, "or this test says nothing: take another seed"
    assert suggest(space, wrapped.ask()) == proposed


def test_the_draws_are_the_same_for_the_same_seed(tried: TriedPoints) -> None:
    first, again, other = (tried.new_points(seed, count=3) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 3


def test_how_far_two_points_are_apart(tried: TriedPoints, space: SearchSpace) -> None:
    at, near, other = (
        to_parameters(space, point)
        for point in (
            {"strategy": "head", "lr": 1e-3, "dropout": 0.0},
            {"strategy": "head", "lr": 1e-2, "dropout": 0.1},
            {"strategy": "full", "lr": 1e-3, "dropout": 0.0},
        )
    )
    assert tried.distance(at, near) == tried.distance(near, at) == pytest.approx(0.5 + 0.2)
    assert tried.distance(at, other) == 3, "the strategy, and the rates of both, which have names of their own"

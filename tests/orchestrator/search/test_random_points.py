from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.search import random_points
from orchestrator.search.random_points import price_function, random_point
from orchestrator.search.rungs import Rungs, flops_by_epoch
from orchestrator.spec.sections import Asha
from orchestrator.spec.sweep_spec import SweepSpec
from trainables.config import TrialConfig

SmallSpec = Callable[..., SweepSpec]

SPACE = {
    "strategy": {"choice": ["head", "full", "progressive"]},
    "unfreeze_epoch": {"int": [1, 5], "when": {"strategy": "progressive"}},
    "lr": {"log": [1e-4, 1e-2]},
}


@pytest.fixture
def spec(small_spec: SmallSpec) -> Callable[..., SweepSpec]:
    def make(**search: Any) -> SweepSpec:
        trial = {"architecture": "test_efficientnet", "epochs": 9}
        return small_spec(trial=trial, space=SPACE, search={"trials": 40, "seed": 5, **search})

    return make


def by_strategy(prices: dict[str, float]) -> Callable[[TrialConfig], float]:
    return lambda config: prices[config.strategy]


def test_every_other_trial_of_tpe_is_drawn(spec: Callable[..., SweepSpec]) -> None:
    def at(sampler: str) -> list[int]:
        sweep = spec(sampler=sampler)
        return [number for number in range(8) if random_point(sweep.problem, number, lambda config: 1.0) is not None]

    assert at("tpe") == [1, 3, 5, 7]
    for sampler in ("gp", "random", "qmc", "nsga2"):
        assert at(sampler) == [], "whoever asks for it gets it as it is"


def test_a_draw_is_the_same_for_the_same_seed_and_number_alone(spec: Callable[..., SweepSpec]) -> None:
    price = by_strategy({"head": 1.0, "full": 9.0, "progressive": 5.0})
    points = [random_point(spec().problem, number, price) for number in range(1, 20, 2)]
    assert points == [random_point(spec().problem, number, price) for number in range(1, 20, 2)]
    assert len({str(point) for point in points}) == 10
    assert points != [random_point(spec(seed=6).problem, number, price) for number in range(1, 20, 2)]


@pytest.mark.parametrize(
    ("prices", "most", "least"),
    [
        ({"head": 0.0, "full": 9.0, "progressive": 1.0}, {"head", "progressive"}, "full"),
        ({"head": 8.0, "full": 1.0, "progressive": 9.0}, {"full"}, "head"),
    ],
)
def test_what_is_cheap_to_judge_is_drawn_more_often(
    prices: dict[str, float], most: set[str], least: str, spec: Callable[..., SweepSpec]
) -> None:
    points = [random_point(spec().problem, number, by_strategy(prices)) for number in range(1, 400, 2)]
    share = {name: sum(point is not None and point["strategy"] == name for point in points) / 200 for name in prices}
    assert sum(share[name] for name in most) > 0.75
    assert 0 < share[least] < 0.25, "though nothing is left out"


def test_what_is_cheap_anyway_is_drawn_as_often_as_chance_has_it(spec: Callable[..., SweepSpec]) -> None:
    prices = {"head": 0.0, "full": 1.0, "progressive": 1.1 * random_points.ALIKE}
    points = [random_point(spec().problem, number, by_strategy(prices)) for number in range(1, 400, 2)]
    heads, full = (
        sum(point is not None and point["strategy"] == name for point in points) for name in ("head", "full")
    )
    assert 0.7 < heads / full < 1.4, "that a head is free does not make it better"


def test_a_price_is_what_a_trial_takes_until_it_is_judged(spec: Callable[..., SweepSpec]) -> None:
    sweep = spec()
    full = sweep.trial_config({"strategy": "full", "lr": 1e-3})
    late = sweep.trial_config({"strategy": "progressive", "unfreeze_epoch": 5, "lr": 1e-3})
    price = price_function(Rungs(Asha(grace=1, reduction=3), 9))
    assert price(full) == pytest.approx(flops_by_epoch(full)[0])
    assert price(late) == pytest.approx(sum(flops_by_epoch(late)[:6])), "five frozen epochs, and one of grace"
    never = price_function(Rungs(Asha(resource="epochs", grace=5, reduction=3), 9))
    assert never(late) == price_function(None)(late) == pytest.approx(sum(flops_by_epoch(late)))

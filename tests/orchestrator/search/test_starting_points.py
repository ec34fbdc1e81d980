from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.search.starting_points import starting_points
from orchestrator.spec.loading import load
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.space import Point

ARCHITECTURE = {"choice": ["resnet18", "test_vit", "vgg16_bn"]}
HEAD = {"architecture": ARCHITECTURE, "strategy": {"choice": ["head", "full"]}, "lr": {"log": [1e-4, 1e-2]}}
SCORES = {"vgg16_bn": 0.7, "resnet18": 0.6, "test_vit": 0.2}


@pytest.fixture
def spec(write_sweep: Callable[..., Path], tmp_path: Path) -> Callable[..., SweepSpec]:
    def make(space: dict[str, Any], **search: Any) -> SweepSpec:
        trial = {"weights": "none", "epochs": 2}
        return load(write_sweep(tmp_path, trial=trial, space=space, search={"probe": True, **search}))

    return make


def points_of(sweep: SweepSpec, scores: dict[str, float]) -> list[Point]:
    return starting_points(sweep.problem, sweep.given_points(), list(scores))


def test_the_default_recipe_with_each_architecture_best_first(spec: Callable[..., SweepSpec]) -> None:
    points = points_of(spec(HEAD, trials=12), SCORES)
    assert [point["architecture"] for point in points] == list(SCORES)
    assert all(point["strategy"] == "head" and point["lr"] == 1e-3 for point in points)


def test_each_architecture_is_thawed_both_ways_where_the_space_has_both(spec: Callable[..., SweepSpec]) -> None:
    space = HEAD | {
        "norm_stats": {"choice": ["batch", "frozen"], "when": {"strategy": "full"}},
        "head_init": {"choice": ["random", "probe"]},
    }
    points = points_of(spec(space, trials=12), SCORES)
    assert [point["architecture"] for point in points] == [name for name in SCORES for _ in range(2)]
    ways = [(point["strategy"], point["norm_stats"], point["head_init"], point["lr"]) for point in points]
    assert ways == [("full", "frozen", "probe", 1e-4), ("full", "batch", "random", 1e-3)] * 3
    assert len(points_of(spec(space, trials=4), SCORES)) == 2


@pytest.mark.parametrize("fixed", ["norm_stats", "head_init"])
def test_one_way_alone_is_not_forced_on_a_space(fixed: str, spec: Callable[..., SweepSpec]) -> None:
    """Gently from a random head, or with statistics of batches, is no recipe."""
    space = HEAD | {"norm_stats": {"choice": ["batch", "frozen"]}, "head_init": {"choice": ["random", "probe"]}}
    del space[fixed]
    points = points_of(spec(space, trials=12), SCORES)
    assert [(point["architecture"], point["strategy"], point["lr"]) for point in points] == [
        (name, "head", 1e-3) for name in SCORES
    ]


def test_a_fixed_architecture_is_tried_as_well(write_sweep: Callable[..., Path], tmp_path: Path) -> None:
    trial = {"weights": "none", "epochs": 2, "architecture": "resnet18"}
    space = {"strategy": HEAD["strategy"], "lr": HEAD["lr"]}
    sweep = load(write_sweep(tmp_path, trial=trial, space=space, search={"trials": 4, "probe": True}))
    assert points_of(sweep, {"resnet18": 0.6}) == [{"strategy": "head", "lr": 1e-3}]


def test_half_of_the_trials_are_left_to_the_sampler(spec: Callable[..., SweepSpec]) -> None:
    points = points_of(spec(HEAD, trials=4), SCORES)
    assert [point["architecture"] for point in points] == ["vgg16_bn", "resnet18"]


def test_the_sweeps_own_points_come_first(spec: Callable[..., SweepSpec]) -> None:
    own = {"architecture": "test_vit", "strategy": "full", "lr": 5e-3}
    points = points_of(spec(HEAD, trials=12, points=[own]), SCORES)
    assert points[0] == own
    assert [point["architecture"] for point in points[1:]] == list(SCORES)


def test_a_space_without_the_default_recipe_gives_points_of_its_own(spec: Callable[..., SweepSpec]) -> None:
    space = {"architecture": ARCHITECTURE, "strategy": {"choice": ["full"]}, "lr": {"log": [1e-5, 1e-4]}}
    sweep = spec(space, trials=12)
    points = points_of(sweep, SCORES)
    assert [point["architecture"] for point in points] == list(SCORES)
    assert [sweep.search_space.validate(point) for point in points] == points


def test_without_scores_nothing_changes(spec: Callable[..., SweepSpec]) -> None:
    sweep = spec(HEAD, trials=12)
    assert points_of(sweep, {}) == sweep.first_points()

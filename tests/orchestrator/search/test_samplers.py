import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from orchestrator.search.optuna_space import suggest
from orchestrator.search.samplers import make_sampler, population_size, seed_of
from orchestrator.spec.sections import Search
from orchestrator.spec.sweep_spec import SweepSpec

SAMPLERS = ["tpe", "gp", "random", "qmc", "grid", "nsga2"]


Suggest = Callable[[optuna.Trial], Any]


def score(point: dict[str, Any]) -> float:
    """A made-up objective that depends on the strategy, so that samplers have something to learn."""
    return point["lr"] + (point["strategy"] == "full")


def optimise(sampler: optuna.samplers.BaseSampler, ask: Suggest, trials: int) -> list[Any]:
    study = optuna.create_study(sampler=sampler, direction="maximize")
    points = []
    for _ in range(trials):
        trial = study.ask()
        points.append(ask(trial))
        study.tell(trial, score(points[-1]))
    return points


@pytest.mark.parametrize("name", SAMPLERS)
# Optuna says once a start that the Gaussian process is fitted with an experimental class.
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_sampler_proposes_valid_points_of_a_conditional_space(design_spec: SweepSpec, name: Any) -> None:
    space = design_spec.search_space
    points = optimise(make_sampler(Search(sampler=name, seed=1)), lambda t: suggest(space, t), 16)
    assert all(space.validate(point) == point for point in points)
    assert len({tuple(point.items()) for point in points}) > 8
    for point in points:
        design_spec.trial_config(point)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_same_seed_one_after_another_proposes_the_same(design_spec: SweepSpec, name: Any) -> None:
    space = design_spec.search_space
    first, again, other = (
        optimise(make_sampler(Search(sampler=name, seed=seed)), lambda t: suggest(space, t), 14) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_making_a_sampler_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in SAMPLERS:
            make_sampler(Search.model_validate({"sampler": name}))


def test_a_trial_s_seed_depends_on_the_sweep_s_and_on_its_number() -> None:
    seeds = [seed_of(Search(seed=seed), number) for seed in (0, 1) for number in range(50)]
    assert len(set(seeds)) == 100
    assert seeds == [seed_of(Search(seed=seed, trials=7), number) for seed in (0, 1) for number in range(50)]


def test_qmc_takes_a_trial_from_its_place_in_the_sequence(design_spec: SweepSpec) -> None:
    """A driver that has restarted has asked for nothing before; its study counts anew."""
    search = Search(sampler="qmc", seed=1)
    space = {"lr": optuna.distributions.FloatDistribution(0, 1)}

    def place(number: int) -> float:
        study = optuna.create_study(sampler=make_sampler(search, number))
        study.enqueue_trial({"lr": 0.5})  # the first trial of a study is drawn outside of the sequence
        study.tell(study.ask(space), 0.0)
        return float(study.ask(space).params["lr"])

    assert place(3) == place(3) != place(4)


def test_a_generation_is_a_quarter_of_the_trials_within_bounds() -> None:
    assert [population_size(Search(trials=trials)) for trials in (1, 16, 40, 200, 1000)] == [4, 4, 10, 50, 50]

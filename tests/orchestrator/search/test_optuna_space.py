from collections.abc import Callable
from typing import Any

import optuna
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.search.optuna_space import distributions, suggest, to_parameters
from orchestrator.search.samplers import make_sampler
from orchestrator.spec.sections import Search
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.domains import Int
from search_spaces.space import SearchSpace, sample

Suggest = Callable[[optuna.Trial], Any]


def score(point: dict[str, Any]) -> float:
    """A made-up objective that depends on the strategy, so that samplers have something to learn."""
    return point["lr"] + (point["strategy"] == "full")


def fallbacks(ask: Suggest, trials: int, start_up: int = 10) -> int:
    """Number of values, after the start-up, that TPE drew outside of its joint model though it knew the parameter."""
    study = optuna.create_study(sampler=make_sampler(Search(sampler="tpe", seed=0)), direction="maximize")
    known: set[str] = set()
    count = 0
    for _ in range(start_up + trials):
        trial = study.ask()
        study.tell(trial, score(ask(trial)))
        if trial.number >= start_up:
            random_point = trial.params.items()
            count += sum(name in known and trial.relative_params.get(name) != value for name, value in random_point)
        known |= set(trial.params)
    return count


def test_each_branch_is_a_parameter_of_its_own(design_spec: SweepSpec) -> None:
    known = distributions(design_spec.search_space)
    assert list(known) == [
        "architecture",
        "strategy",
        "trainable_stages (strategy: partial)",
        "unfreeze_epoch (strategy: progressive)",
        "last_stage_epoch (strategy: gradual)",
        "full_after (strategy: gradual)",
        "lr (strategy: head)",
        "lr (strategy: partial or progressive or gradual or full)",
        "balance",
        "scheduler",
    ]
    assert known["lr (strategy: head)"] == optuna.distributions.FloatDistribution(1e-3, 3e-2, log=True)
    assert known["trainable_stages (strategy: partial)"] == optuna.distributions.IntDistribution(1, 3)
    assert known["balance"] == optuna.distributions.CategoricalDistribution(("none", "sampler", "loss"))


def test_no_suggestion_of_tpe_falls_out_of_the_joint_model(design_spec: SweepSpec) -> None:
    assert fallbacks(lambda trial: suggest(design_spec.search_space, trial), trials=40) == 0


def test_one_name_for_two_ranges_would_fall_out_of_it() -> None:
    """The control: what the names of the branches are for, and that the test above can fail."""

    def naive(trial: optuna.Trial) -> dict[str, Any]:
        strategy = trial.suggest_categorical("strategy", ["head", "full"])
        low, high = (1e-3, 3e-2) if strategy == "head" else (1e-5, 1e-3)
        return {"strategy": strategy, "lr": trial.suggest_float("lr", low, high, log=True)}

    assert fallbacks(naive, trials=40) > 10


@given(data=st.data(), seed=st.integers(0, 2**31))
def test_suggestions_are_valid_and_to_parameters_is_the_way_back(
    raw_spaces: Any, data: st.DataObject, seed: int
) -> None:
    space = SearchSpace.parse(*data.draw(raw_spaces()))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    point = suggest(space, trial)
    assert space.validate(point) == point
    parameters = to_parameters(space, point)
    assert parameters == trial.params
    assert trial.distributions == {name: distributions(space)[name] for name in parameters}

    study.enqueue_trial(parameters)
    again = suggest(space, study.ask())
    assert again == point
    assert [type(value) for value in again.values()] == [type(value) for value in point.values()]


def test_samples_depend_on_the_seed_alone(design_spec: SweepSpec) -> None:
    space = design_spec.search_space
    assert sample(space, 5, seed=3) == sample(space, 5, seed=3)
    assert sample(space, 5, seed=3) != sample(space, 5, seed=4)
    assert all(space.contains(point) for point in sample(space, 20, seed=0))


def test_a_range_of_one_whole_number_can_be_asked_for() -> None:
    space = SearchSpace.parse({"k": {"int": [2, 2]}}, {})
    assert space.dimensions["k"][0].domain == Int(2, 2)
    assert sample(space, 1, seed=0) == [{"k": 2}]

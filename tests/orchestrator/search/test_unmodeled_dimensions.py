from typing import Any

import optuna
import pytest

from orchestrator.search.optuna_space import distributions, suggest
from orchestrator.search.samplers import make_sampler
from orchestrator.search.unmodeled_dimensions import drawn_at_random, sampler_warning
from orchestrator.spec.sections import Search
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.space import SearchSpace

PLAIN = SearchSpace.parse({"lr": {"log": [1e-3, 1e-2]}}, {})


def test_tpe_models_every_dimension_and_others_those_without_a_condition(design_spec: SweepSpec) -> None:
    assert drawn_at_random(Search(sampler="tpe"), design_spec.search_space) == []
    assert drawn_at_random(Search(sampler="gp"), PLAIN) == []


def test_the_warning_names_the_dimensions(design_spec: SweepSpec) -> None:
    warning = sampler_warning(Search(sampler="nsga2"), design_spec.search_space)
    assert warning is not None
    assert warning.startswith("search.sampler nsga2 draws conditional dimensions at random (trainable_stages, ")


@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc", "nsga2", "random", "grid"])
def test_a_sampler_that_learns_about_all_needs_no_warning(sampler: str) -> None:
    assert sampler_warning(Search.model_validate({"sampler": sampler}), PLAIN) is None


@pytest.mark.parametrize("name", ["gp", "qmc", "nsga2"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_what_a_sampler_draws_at_random_is_told(design_spec: SweepSpec, name: Any) -> None:
    """A dimension that the sampler models is in `relative_params`; the random one is asked for every other."""
    space = design_spec.search_space
    search = Search(sampler=name, seed=1, trials=16)
    told = drawn_at_random(search, space)
    assert told == ["trainable_stages", "unfreeze_epoch", "last_stage_epoch", "full_after", "lr"]
    study = optuna.create_study(sampler=make_sampler(search), direction="maximize")
    modelled: set[str] = set()
    for _ in range(16):
        trial = study.ask()
        study.tell(trial, suggest(space, trial)["lr"])
        # nsga2 draws what it mutates anew.
        modelled |= set(trial.relative_params)
    assert {"architecture", "strategy", "balance", "scheduler"} <= modelled
    conditional = {label for label in distributions(space) if "(" in label}
    assert conditional - modelled
    assert name == "qmc" or not conditional & modelled

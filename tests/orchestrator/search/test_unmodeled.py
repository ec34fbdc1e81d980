import pytest

from orchestrator.search.unmodeled import drawn_at_random, sampler_warning
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

from collections.abc import Callable

import pytest
from ray.exceptions import RayTaskError

from orchestrator.driver.probe import _probes, _reason
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput

SPACE = {
    "architecture": {"choice": ["resnet18", "vgg16"]},
    "strategy": {"choice": ["head", "full"]},
    "lr": {"log": [1e-4, 1e-2]},
}


@pytest.mark.parametrize(
    ("space", "trial", "answers"),
    [
        ({}, {}, {("none", "inverse")}),
        (
            {"balance": {"choice": ["none", "sampler", "loss"]}},
            {"class_weighting": "effective"},
            {("none", "inverse"), ("sampler", "effective"), ("loss", "effective")},
        ),
        ({"balance": {"choice": ["none", "loss"]}}, {}, {("none", "inverse"), ("loss", "inverse")}),
    ],
)
def test_every_answer_to_imbalance_is_probed_for_every_architecture(
    space: dict[str, object],
    trial: dict[str, object],
    answers: set[tuple[str, str]],
    small_spec: Callable[..., SweepSpec],
) -> None:
    found = _probes(small_spec(space=SPACE | space, trial={"epochs": 2, "weights": "pretrained"} | trial))
    assert list(found) == ["resnet18", "vgg16"]
    for probes in found.values():
        assert {(probe.balance, probe.class_weighting) for probe in probes} == answers
        assert len(probes) == len(answers)


def test_weights_that_vary_are_probed_each(small_spec: Callable[..., SweepSpec]) -> None:
    space = SPACE | {"weights": {"choice": ["none", "pretrained"]}}
    found = _probes(small_spec(space=space, trial={"epochs": 2}))
    assert {name: {probe.weights for probe in probes} for name, probes in found.items()} == {
        "resnet18": {"none", "pretrained"},
        "vgg16": {"none", "pretrained"},
    }


def test_a_failed_probe_is_explained_without_a_remedy_for_trials() -> None:
    cause = InvalidInput("head_init: probe needs a linear classifier, got several in deit; set head_init: random")
    error = RayTaskError("probe", "long\ntraceback\nlast: line", cause)
    assert _reason(error) == "it needs a linear classifier, got several in deit"
    assert _reason(RayTaskError("probe", "long\ntraceback\nlast: line", ValueError("odd"))).endswith("line")

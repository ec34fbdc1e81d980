"""With processes in which nothing is trained: what is asked to be measured, and what becomes of the answers."""

from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from orchestrator.planning.calibrate import calibrate
from orchestrator.planning.cost_model import PhaseKind
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput, OutOfMemory
from trainables.config import TrialConfig
from trainables.estimate.linear_probe import probe_config
from trainables.estimate.phase_cost import PhaseCost
from trainables.model.freeze_plan import Stages

FIXED = {"parameters": 9, "trainable": 9, "start": 0.1, "prepare": 0.1, "validation": 0.1, "checkpoint": 0.1}
Answer = Callable[[TrialConfig, Stages], PhaseCost]


class ImageSample:
    """Only the number of images is looked at."""

    counts = {"train": 100, "val": 10}  # noqa: RUF012


def cost(config: TrialConfig, stages: Stages) -> PhaseCost:
    features = None if stages == "all" or config.augmentation != "none" else 0.1
    known: dict[str, Any] = {**FIXED, "memory": 100 * config.batch_size, "baseline": 0}
    return PhaseCost(config, stages, features=features, image=0.1, **known)


def measure_with(
    answer: Answer, spec: SweepSpec, probes: Sequence[TrialConfig] = ()
) -> tuple[Any, list[Any], list[tuple[str, Stages]]]:
    asked: list[tuple[str, Stages]] = []

    def runner(_function: object, config: TrialConfig, stages: Stages, _sample: object, _threads: int) -> PhaseCost:
        asked.append((config.architecture, stages))
        return answer(config, stages)

    told: list[tuple[int, int, str]] = []
    costs, problems = calibrate(
        spec.corner_configs(),
        probes,
        spec.resources,
        ImageSample(),  # type: ignore[arg-type]
        runner,  # type: ignore[arg-type]
        2,
        lambda *done: told.append(done),
    )
    assert [number for number, _, _ in told] == list(range(1, len(asked) + 1))
    assert {total for _, total, _ in told} == {len(asked)}
    return costs, problems, asked


def test_each_phase_of_the_space_is_measured_once(design_spec: SweepSpec) -> None:
    costs, problems, asked = measure_with(cost, design_spec)
    stages: list[Stages] = [0, 1, 3, "all"]
    architectures = ["mobilenetv2_100", "tf_mobilenetv3_small_100"]
    assert sorted(asked, key=str) == sorted([(name, own) for name in architectures for own in stages], key=str)
    assert problems == []
    assert set(costs.measured) == {PhaseKind(name, own, own != "all") for name in architectures for own in stages}
    assert costs.effects == {}
    assert all(costs.phases(config) is not None for config in design_spec.corner_configs())


def test_a_probe_is_measured_where_no_trial_is_frozen_and_is_no_problem(small_spec: Callable[..., SweepSpec]) -> None:
    trial = {"architecture": "resnet18", "weights": "none", "strategy": "full", "epochs": 2, "lr": 0.1}
    spec = small_spec(trial=trial, space={"dropout": {"choice": [0.0, 0.1]}})
    probe = probe_config(spec.corner_configs()[0])
    costs, problems, asked = measure_with(cost, spec, [probe])
    assert sorted(stages for _, stages in asked if stages == 0) == [0]
    phases = costs.phases(probe)
    assert phases is not None
    assert phases[0].features > 0

    def unprobeable(config: TrialConfig, stages: Stages) -> PhaseCost:
        if stages == 0:
            raise InvalidInput("no probe")
        return cost(config, stages)

    costs, problems, _ = measure_with(unprobeable, spec, [probe])
    assert (problems, costs.phases(probe)) == ([], None)


def test_a_costly_setting_that_varies_is_measured_in_one_phase_alone(small_spec: Callable[..., SweepSpec]) -> None:
    space = {
        "architecture": {"choice": ["resnet18", "resnet34", "resnet50"]},
        "batch_size": {"int": [16, 64]},
        "optimizer": {"choice": ["adamw", "sgd"]},
        "weight_decay": {"log": [1e-4, 1e-2]},
    }
    trial = {"weights": "none", "epochs": 4, "strategy": "full", "lr": 0.1}
    costs, _, asked = measure_with(cost, small_spec(trial=trial, space=space))
    assert len(asked) == 3 + 3
    assert {setting: list(values) for setting, values in costs.effects.items()} == {
        "batch_size": [16, 64, 32],  # the ends, and what is tried first
        "optimizer": ["adamw", "sgd"],
    }


@pytest.mark.parametrize(
    ("error", "message", "of_memory"),
    [
        (InvalidInput("weights must be there"), "weights must be there", False),
        (OutOfMemory("set a smaller size"), "set a smaller size", True),
        (BrokenProcessPool(), "its process was ended by the system, most likely for lack of memory", True),
        (RuntimeError("sizes differ"), "RuntimeError: sizes differ", False),
    ],
)
def test_what_cannot_be_measured_is_a_problem_and_the_rest_goes_on(
    design_spec: SweepSpec, error: Exception, message: str, of_memory: bool
) -> None:
    def answer(config: TrialConfig, stages: Stages) -> PhaseCost:
        if config.architecture == "mobilenetv2_100" and stages == "all":
            raise error
        return cost(config, stages)

    costs, (problem,), _ = measure_with(answer, design_spec)
    assert (problem.architecture, problem.stages, problem.of_memory) == ("mobilenetv2_100", "all", of_memory)
    assert problem.message.startswith(message)
    for config in design_spec.corner_configs():
        thawed = config.strategy in ("full", "progressive", "gradual")
        broken = config.architecture == "mobilenetv2_100" and thawed
        assert (costs.phases(config) is None) == broken

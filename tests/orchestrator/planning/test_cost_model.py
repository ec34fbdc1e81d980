from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.planning.cost_model import CostModel, PhaseKind, phase_kind
from trainables.config import TrialConfig
from trainables.estimate.phase_cost import PhaseCost
from trainables.model.freeze_plan import Stages

Config = Callable[..., TrialConfig]
MADE = {"parameters": 1000, "start": 1.0, "prepare": 0.5, "validation": 0.01, "checkpoint": 0.25, "baseline": 100}


@pytest.fixture
def config(trial: Callable[..., Any]) -> Config:
    return lambda **settings: trial("0000", **{"epochs": 6, "batch_size": 10, **settings}).config


def cost(config: TrialConfig, stages: Stages, image: float, features: float | None = None, **more: Any) -> PhaseCost:
    return PhaseCost(config, stages, **{**MADE, "trainable": 10, "memory": 200, **more}, features=features, image=image)


def costs_of(*measured: PhaseCost, effects: Any = None, workers: int = 1) -> CostModel:
    kinds = {PhaseKind(one.config.architecture, one.stages, one.features is not None): one for one in measured}
    return CostModel({"train": 100, "val": 20}, workers, kinds, effects or {})


def test_a_trial_s_phases_are_those_of_its_plan(config: Config) -> None:
    gradual = config(strategy="gradual", last_stage_epoch=1, full_after=2)
    phases = costs_of(
        cost(config(), 0, 0.001, 0.02), cost(config(), 1, 0.002, 0.03), cost(config(), "all", 0.05)
    ).phases(gradual)
    assert phases is not None
    assert [(phase.stages, phase.epochs) for phase in phases] == [(0, 1), (1, 2), ("all", 3)]
    # 100 training images, 20 validation images at 0.01 s, a checkpoint of 0.25 s.
    assert [phase.epoch for phase in phases] == pytest.approx([0.1 + 0.2 + 0.25, 0.2 + 0.2 + 0.25, 5 + 0.2 + 0.25])
    assert [phase.features for phase in phases] == pytest.approx([120 * 0.02, 120 * 0.03, 0])
    assert phases[2].step == pytest.approx(10 * 0.05)


def test_every_fixed_view_has_its_features(config: Config) -> None:
    views = config(feature_views=4, augmentation="light")
    (phase,) = costs_of(cost(config(), 0, 0.001, 0.02)).phases(views) or []
    assert phase.features == pytest.approx((4 * 100 + 20) * 0.02)
    (short,) = costs_of(cost(config(), 0, 0.001, 0.02)).phases(views.model_copy(update={"epochs": 2})) or []
    assert short.features == pytest.approx((2 * 100 + 20) * 0.02)
    assert phase.features_key != short.features_key


def test_workers_share_the_images_and_not_the_checkpoint(config: Config) -> None:
    (phase,) = costs_of(cost(config(), 0, 0.1, 0.02), workers=2).phases(config()) or []
    assert phase.epoch == pytest.approx((10 + 0.2) / 2 + 0.25)
    assert phase.step == pytest.approx(0.5)


def test_between_two_corners_costs_follow_the_stages(config: Config) -> None:
    costs = costs_of(
        cost(config(), 1, 0.01, 0.02, memory=200, trainable=10), cost(config(), 3, 0.03, 0.01, memory=600, trainable=50)
    )
    (phase,) = costs.phases(config(strategy="partial", trainable_stages=2)) or []
    assert (phase.cost.image, phase.cost.features) == pytest.approx((0.02, 0.015))
    assert (phase.cost.memory, phase.cost.trainable, phase.stages) == (400, 30, 2)
    assert costs.phases(config(strategy="partial", trainable_stages=4)) is None


def test_an_effect_is_a_factor_on_time_and_on_what_the_imports_leave_of_memory(config: Config) -> None:
    full, other = config(strategy="full"), config(strategy="full", architecture="resnet50")
    effects = {
        "batch_size": {
            size: cost(full.model_copy(update={"batch_size": size}), "all", image, memory=memory)
            for size, image, memory in ((10, 0.1, 200), (20, 0.08, 300))
        }
    }
    costs = costs_of(cost(full, "all", 0.1), cost(other, "all", 1.0, memory=500), effects=effects)
    (phase,) = costs.phases(other.model_copy(update={"batch_size": 20})) or []
    assert phase.cost.image == pytest.approx(0.8)
    assert phase.cost.memory == 100 + 2 * 400
    assert phase.step == pytest.approx(16)
    # Between the values that were measured, the nearest.
    (near,) = costs.phases(other.model_copy(update={"batch_size": 17})) or []
    assert near.cost.image == pytest.approx(0.8)


def test_what_could_not_be_measured_has_no_phases(config: Config) -> None:
    full = config(strategy="full")
    costs = costs_of(cost(full, "all", 0.1), effects={"precision": {"fp32": cost(full, "all", 0.1)}})
    assert costs.phases(config(strategy="progressive", unfreeze_epoch=2)) is None
    assert costs.phases(full.model_copy(update={"precision": "fp16"})) is None
    assert costs.phases(full) is not None


def test_augmentation_makes_another_kind_of_a_frozen_phase(config: Config) -> None:
    plain, augmented = config(), config(augmentation="light")
    assert phase_kind(plain, 0) != phase_kind(augmented, 0)
    assert phase_kind(plain, "all") == phase_kind(augmented, "all")
    costs = costs_of(cost(plain, 0, 0.001, 0.02), replace(cost(augmented, 0, 0.05)))
    first, second = (costs.phases(own) or [] for own in (plain, augmented))
    assert first[0].features > 0
    assert second[0].features == 0


def test_an_epoch_of_folds_trains_each_image_in_all_folds_but_its_own(config: Config) -> None:
    weights = {"weights": "w.safetensors", "data": {"root": "d", "folds": 5}}
    measured = {PhaseKind("resnet18", 0, True): cost(config(), 0, 0.001, 0.02)}
    costs = CostModel({"train": 100}, 1, measured, {})
    for more, features in (({}, 100), ({"augmentation": "light", "feature_views": 4}, 500)):
        (phase,) = costs.phases(config(strategy="head", **weights, **more)) or ()
        assert phase.epoch == pytest.approx(4 * 0.1 + 100 * 0.01 + 0.25)
        assert phase.features == pytest.approx(features * 0.02)

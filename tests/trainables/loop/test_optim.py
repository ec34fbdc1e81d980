import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from trainables.checkpoint_state import CheckpointState
from trainables.config import Objective, TrialConfig
from trainables.loop.checkpoint import load_checkpoint, optimizer_tensors, save_checkpoint
from trainables.loop.optim import (
    PLATEAU_FACTOR,
    PLATEAU_PATIENCE,
    build_optimizer,
    count_plateaus,
    epochs_without_improvement,
    lr_factor,
    parameter_groups,
    rates,
    set_learning_rates,
)

UP = Objective(metric="val/accuracy")
DOWN = Objective(metric="val/loss")


@pytest.mark.parametrize(
    ("scheduler", "start", "middle", "end"),
    [
        ("constant", 1, 1, 1),
        ("cosine", 1, 0.5, 0),
        ("step", 1, 0.1, 0.01),
        ("plateau", 1, 1, 1),
        ("one_cycle", 1 / 25, (1 + math.cos(math.pi * 2 / 7)) / 2, 1 / 25e4),
    ],
)
def test_schedules_at_the_start_the_middle_and_the_end(scheduler: str, start: float, middle: float, end: float) -> None:
    factors = [lr_factor(scheduler, progress, 0) for progress in (0, 0.5, 1 - 1e-9)]
    assert factors == pytest.approx([start, middle, end], abs=1e-5)


@given(st.integers(1, 50), st.integers(1, 50))
def test_step_falls_after_exactly_a_third_of_the_steps(epochs: int, steps: int) -> None:
    total = epochs * steps
    factors = [lr_factor("step", step / total, 0) for step in range(total)]
    assert factors == pytest.approx([0.1 ** (3 * step // total) for step in range(total)])


def test_one_cycle_is_that_of_torch() -> None:
    total = 3000
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=0.9)
    scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=total)
    for step in range(total):
        # torch reaches each end with the last step before it, ours with the first after it: one step of 3,000.
        assert lr_factor("one_cycle", step / total, 0) == pytest.approx(optimizer.param_groups[0]["lr"], abs=3e-3)
        optimizer.step()
        if step + 1 < total:
            scheduler.step()


@given(st.lists(st.integers(0, 4).map(float), max_size=30), st.sampled_from([UP, DOWN]))
def test_plateaus_are_those_of_torch(objectives: list[float], objective: Objective) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = ReduceLROnPlateau(
        optimizer, mode=objective.mode, factor=PLATEAU_FACTOR, patience=PLATEAU_PATIENCE, threshold=0, eps=0
    )
    for seen in range(len(objectives)):
        torchs.step(objectives[seen])
        factor = lr_factor("plateau", 0.5, count_plateaus(objectives[: seen + 1], objective))
        assert factor == pytest.approx(optimizer.param_groups[0]["lr"])


def test_plateaus_by_hand() -> None:
    assert count_plateaus([], UP) == 0
    assert count_plateaus([0.5, 0.5, 0.5], UP) == 0
    assert count_plateaus([0.5, 0.5, 0.5, 0.5], UP) == 1
    assert count_plateaus([0.5] * 7, UP) == 2
    assert count_plateaus([0.5, 0.4, 0.3, 0.2], DOWN) == 0


def test_epochs_without_improvement() -> None:
    assert epochs_without_improvement([], UP) == 0
    assert epochs_without_improvement([0.5], UP) == 0
    assert epochs_without_improvement([0.5, 0.5, 0.4], UP) == 2
    assert epochs_without_improvement([0.5, 0.5, 0.6], UP) == 0
    assert epochs_without_improvement([0.5, 0.6, 0.4], DOWN) == 0


@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_vit", "test_convnext"])
def test_no_decay_on_biases_norms_and_embeddings(architecture: str) -> None:
    model = timm.create_model(architecture, num_classes=3)
    names = [name for name, _ in model.named_parameters()]
    groups = parameter_groups(model, names, stage=0, since=0, peak_lr=0.1, weight_decay=0.05)
    assert sorted(name for group in groups for name in group["names"]) == sorted(names)
    norms = {
        f"{path}.{name}"
        for path, module in model.named_modules()
        if "Norm" in type(module).__name__
        for name, _ in module.named_parameters(recurse=False)
    }
    for group in groups:
        own = dict(zip(group["names"], group["params"], strict=True))
        assert all(model.get_parameter(name) is parameter for name, parameter in own.items())
        assert (group["stage"], group["peak_lr"], group["lr"]) == (0, 0.1, 0.1)
        if group["weight_decay"]:
            assert group["weight_decay"] == 0.05
            assert not norms & own.keys()
            assert all(name.endswith("weight") for name in own)
        else:
            assert norms <= own.keys()
            assert {name for name in names if name.endswith(("bias", "pos_embed", "cls_token"))} <= own.keys()


def test_groups_without_parameters_are_left_out() -> None:
    model = timm.create_model("test_efficientnet", num_classes=3)
    (only,) = parameter_groups(model, ["classifier.bias"], stage=0, since=0, peak_lr=1, weight_decay=0.1)
    assert only["names"] == ["classifier.bias"]


def test_each_stage_has_its_rate_and_its_warm_up(trial_config: Callable[..., TrialConfig]) -> None:
    config = trial_config(
        lr=0.1,
        backbone_lr_factor=0.5,
        stage_lr_decay=0.1,
        scheduler="constant",
        epochs=9,
        warmup_epochs=2,
        thaw_warmup_epochs=1,
    )
    optimizer = torch.optim.SGD(
        [
            {"params": [nn.Parameter(torch.zeros(1))], "stage": stage, "since": since, "lr": 0.0}
            for stage, since in ((0, 0), (1, 4), (2, 4))
        ]
    )

    def found(epochs: float) -> list[float]:
        set_learning_rates(optimizer, config, epochs, 0.25, plateaus=0)
        return [group["lr"] for group in optimizer.param_groups]

    # Four steps an epoch: the start rises over eight steps, a thaw over four, each reaching its peak at the last.
    assert found(0)[0] == pytest.approx(0.1 / 8)
    assert found(1.75)[0] == pytest.approx(0.1)
    assert found(4) == pytest.approx([0.1, 0.05 / 4, 0.005 / 4])
    assert found(4.75) == pytest.approx([0.1, 0.05, 0.005])
    assert rates(optimizer) == pytest.approx(
        {"lr/head": 0.1, "lr/backbone": 0.05, "lr/stage_1": 0.05, "lr/stage_2": 0.005}
    )


def test_patience_counts_improvements_above_the_minimum_alone() -> None:
    rising = [0.5, 0.6, 0.605, 0.609, 0.612]
    assert epochs_without_improvement(rising, Objective()) == 0
    assert epochs_without_improvement(rising, Objective(), min_delta=0.01) == 0
    assert epochs_without_improvement(rising[:4], Objective(), min_delta=0.01) == 2
    assert epochs_without_improvement([1 - v for v in rising[:4]], Objective(metric="val/loss"), min_delta=0.01) == 2


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()


def by_name(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    return {
        name: {key: torch.as_tensor(value).clone() for key, value in optimizer.state[parameter].items()}
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        if parameter in optimizer.state
    }


def thawed(config: TrialConfig, *, steps: int) -> tuple[nn.Module, torch.optim.Optimizer, dict[str, dict[str, Any]]]:
    """A model whose head has taken `steps` steps and whose first convolution has been thawed after them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    model.scale = nn.Parameter(torch.tensor(1.0))
    head = parameter_groups(model, ["2.weight", "2.bias", "scale"], stage=0, since=0, peak_lr=0.1, weight_decay=0.01)
    optimizer = build_optimizer(config, head)
    for number in range(steps):
        step(model, optimizer, number)
    before = by_name(optimizer)
    for group in parameter_groups(model, ["0.weight", "0.bias"], stage=1, since=1, peak_lr=0.01, weight_decay=0.01):
        optimizer.add_param_group(group)
    return model, optimizer, before


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_a_thaw_keeps_the_state_of_what_trained_before(name: str, trial_config: Callable[..., TrialConfig]) -> None:
    model, optimizer, before = thawed(trial_config(optimizer=name), steps=3)
    assert set(before) == {"2.weight", "2.bias", "scale"}
    torch.testing.assert_close(by_name(optimizer), before, rtol=0, atol=0)
    step(model, optimizer, 9)
    after = by_name(optimizer)
    assert set(after) == {*before, "0.weight", "0.bias"}
    if name != "sgd":
        assert (after["2.weight"]["step"], after["0.weight"]["step"]) == (4, 1)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_state_goes_through_a_checkpoint_by_name(
    name: str, trial_config: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    config = trial_config(optimizer=name)
    model, optimizer, _ = thawed(config, steps=2)
    step(model, optimizer, 5)
    state = CheckpointState(
        config=config, classes=("a", "b"), fingerprint="f", mean=(0, 0, 0), std=(1, 1, 1), reports=()
    )
    save_checkpoint(tmp_path / "last", model.state_dict(), state, optimizer_tensors(optimizer))

    other, restored, _ = thawed(config, steps=0)
    load_checkpoint(tmp_path / "last", other, restored)
    torch.testing.assert_close(by_name(restored), by_name(optimizer), rtol=0, atol=0)
    for number in range(3):
        step(model, optimizer, number)
        step(other, restored, number)
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_sgd_has_nesterov_momentum(trial_config: Callable[..., TrialConfig]) -> None:
    group = build_optimizer(trial_config(optimizer="sgd"), [{"params": [nn.Parameter(torch.zeros(1))]}]).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.9, True)

"""Decay towards the start is decay towards zero of what has been added to it."""

from typing import Any

import pytest
import torch
from torch import nn

from trainables.loop.start_decay import StartDecay

OPTIMIZERS = {
    "adamw": (torch.optim.AdamW, {}),
    "adam": (torch.optim.Adam, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
}


def steps(kind: str, start: float, *, to_start: bool, gradients: torch.Tensor) -> torch.Tensor:
    """The parameter, which begins at `start`, after a step with each of the gradients."""
    parameter = nn.Parameter(torch.full((4, 4), start, dtype=torch.float64))
    make, more = OPTIMIZERS[kind]
    optimizer: Any = make([{"params": [parameter], "weight_decay": 0.3}], lr=0.1, **more)
    if to_start:
        StartDecay(optimizer).take_over(optimizer.param_groups[0])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_it_is_decay_to_zero_seen_from_the_start(kind: str) -> None:
    gradients = torch.randn(6, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    away = steps(kind, 5.0, to_start=True, gradients=gradients) - 5.0
    torch.testing.assert_close(away, steps(kind, 0.0, to_start=False, gradients=gradients))
    assert not torch.allclose(away, steps(kind, 5.0, to_start=False, gradients=gradients) - 5.0)


def test_a_group_without_decay_is_left_alone() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([{"params": [parameter], "weight_decay": 0.0}], lr=0.1)
    StartDecay(optimizer).take_over(optimizer.param_groups[0])
    with torch.no_grad():
        parameter.add_(1.0)
    parameter.grad = torch.zeros(3)
    optimizer.step()
    assert torch.equal(parameter, torch.full((3,), 2.0))


def test_a_scaled_gradient_gets_a_scaled_pull() -> None:
    """A fused optimizer under fp16's scaler divides the gradient itself, by `grad_scale`."""
    found = []
    for scale in (None, torch.tensor(1024.0)):
        parameter = nn.Parameter(torch.zeros(3))
        optimizer: Any = torch.optim.SGD([{"params": [parameter], "weight_decay": 0.5}], lr=0.1)
        decay = StartDecay(optimizer)
        decay.take_over(optimizer.param_groups[0])
        with torch.no_grad():
            parameter.add_(2.0)
        parameter.grad = torch.zeros(3)
        optimizer.grad_scale = scale
        decay._pull(optimizer)
        found.append(parameter.grad.clone())
    assert torch.equal(found[0], torch.ones(3))
    assert torch.equal(found[1], 1024 * found[0])

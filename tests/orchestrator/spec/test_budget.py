from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.spec.budget import Budget, clock, reached
from orchestrator.spec.loading import load
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.config import Objective


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("1h30m", 5400), ("45s", 45), ("1.5m", 90), ("1d", 86400), ("none", None)]
)
def test_a_time_is_a_number_with_its_unit(text: str, seconds: float | None) -> None:
    budget = Budget.model_validate({"wall_clock": text})
    assert budget.wall_clock == seconds
    assert Budget.model_validate(budget.model_dump(mode="json")) == budget


@pytest.mark.parametrize("value", ["2", 2, "2 hours", "h", "-1h", "0s", ""])
def test_a_time_without_a_unit_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"must be a time with its unit|greater than 0"):
        Budget.model_validate({"wall_clock": value})


def test_the_file_s_budget_is_read_and_resolved(small_spec: Callable[..., SweepSpec], tmp_path: Any) -> None:
    spec = small_spec(budget={"wall_clock": "2h", "target": 0.95, "plateau": 20, "gpu_hours": "none"})
    assert spec.budget == Budget(wall_clock=7200.0, target=0.95, plateau=20)
    (tmp_path / "resolved.yaml").write_text(spec.to_yaml())
    assert load(tmp_path / "resolved.yaml") == spec


def test_gpu_hours_need_a_gpu(small_spec: Callable[..., SweepSpec]) -> None:
    with pytest.raises(InvalidInput, match=r"budget.gpu_hours: needs trials that use a GPU, .* budget.wall_clock"):
        small_spec(budget={"gpu_hours": 10})
    assert small_spec(budget={"gpu_hours": 10}, resources={"gpus_per_worker": 0.5}).budget.gpu_hours == 10


def test_a_target_is_a_value_of_the_objective(small_spec: Callable[..., SweepSpec]) -> None:
    for target in (80, -0.1):
        with pytest.raises(InvalidInput, match=r"budget.target: must be .* val/macro_f1 .* between 0 and 1, got"):
            small_spec(budget={"target": target})
    with pytest.raises(InvalidInput, match=r"budget.target: must be .* val/loss .* at least 0, got -1"):
        small_spec(budget={"target": -1}, objective={"metric": "val/loss"})
    assert small_spec(budget={"target": 1.5}, objective={"metric": "val/loss"}).budget.target == 1.5
    assert small_spec(budget={"target": 1}).budget.target == 1


def test_a_target_of_a_loss_is_reached_from_above() -> None:
    loss = Objective(metric="val/loss")
    assert reached(0.1, loss, 0.1)
    assert reached(0.1, loss, 0.05)
    assert not reached(0.1, loss, 0.2)
    assert not reached(None, loss, 0.0)


@pytest.mark.parametrize(("seconds", "text"), [(7200, "2h"), (5445, "1h30m45s"), (0.25, "0.25s"), (59.6, "1m")])
def test_times_are_told_as_people_write_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text

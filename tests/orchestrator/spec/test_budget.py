from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.spec.budget import Budget, BudgetMeter, clock, reached
from orchestrator.spec.loading import load
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.config import Objective
from trainables.result import Status, TrialResult

Trial = Callable[..., TrialResult]
COMPLETED, PRUNED, FAILED, RUNNING = Status.COMPLETED, Status.PRUNED, Status.FAILED, Status.RUNNING


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


def spent(budget: dict[str, Any], *trials: TrialResult, mode: str = "max", **more: Any) -> BudgetMeter:
    objective = Objective() if mode == "max" else Objective(metric="val/loss")
    return BudgetMeter(Budget.model_validate(budget), objective, more.pop("gpus", 0), trials, **more)


def test_without_a_budget_nothing_is_used_up(trial: Trial) -> None:
    assert spent({}, trial("0000", [0.9], COMPLETED)).exhausted(1e9) is None


def test_wall_clock_adds_up_over_drivers() -> None:
    budget_meter = spent({"wall_clock": "1h"}, seconds=3000.0)
    assert budget_meter.exhausted(599) is None
    assert budget_meter.exhausted(600) == "budget.wall_clock: 1h of 1h are used"


def test_gpu_hours_are_those_of_every_epoch(trial: Trial) -> None:
    """Each epoch of the fixture takes 1.5 s."""
    budget_meter = spent({"gpu_hours": 0.002}, trial("0000", [0.1, 0.2], COMPLETED), gpus=2)
    assert budget_meter.exhausted() is None
    budget_meter.note(trial("0001", [0.1]))
    assert budget_meter.exhausted() == "budget.gpu_hours: 0.0025 of 0.002 are used"
    budget_meter.note(trial("0001", [0.1]))
    assert budget_meter.exhausted() == "budget.gpu_hours: 0.0025 of 0.002 are used", "a trial counts once"


def test_the_target_is_reached_by_a_completed_trial(trial: Trial) -> None:
    budget_meter = spent({"target": 0.8}, trial("0000", [0.79], COMPLETED), trial("0001", [0.9], PRUNED))
    assert budget_meter.exhausted() is None
    budget_meter.note(trial("0002", [0.5, 0.8], COMPLETED))
    assert budget_meter.exhausted() == "budget.target: trial 0002 reached 0.8000, 0.8 was asked for"


def test_a_target_of_a_loss_is_reached_from_above() -> None:
    loss = Objective(metric="val/loss")
    assert reached(0.1, loss, 0.1)
    assert reached(0.1, loss, 0.05)
    assert not reached(0.1, loss, 0.2)
    assert not reached(None, loss, 0.0)


def test_a_plateau_is_of_trials_begun_after_the_best(trial: Trial) -> None:
    budget_meter = spent({"plateau": 3}, trial("0000", [0.5], COMPLETED), trial("0001", [0.9], COMPLETED))
    for number, (status, score) in enumerate([(PRUNED, 0.1), (FAILED, 0.1), (RUNNING, 0.1)], start=2):
        budget_meter.note(trial(f"{number:04d}", [score], status))
        assert budget_meter.exhausted() is None
    budget_meter.note(trial("0004", [0.9], COMPLETED))
    assert budget_meter.exhausted() == "budget.plateau: 3 trials in a row did not beat 0.9000 of trial 0001"
    budget_meter.note(trial("0005", [0.91], COMPLETED))
    assert budget_meter.exhausted() is None


def test_a_plateau_counts_anew_after_an_extension(trial: Trial) -> None:
    trials = [trial(f"{number:04d}", [0.5], COMPLETED) for number in range(5)]
    assert spent({"plateau": 3}, *trials).exhausted() is not None
    budget_meter = spent({"plateau": 3}, *trials, plateau_from=5)
    assert budget_meter.exhausted() is None
    for number in (5, 6, 7):
        budget_meter.note(trial(f"{number:04d}", [0.4], COMPLETED))
    assert budget_meter.exhausted() is not None


def test_trials_that_only_fail_are_no_plateau(trial: Trial) -> None:
    """Without a best there is nothing to beat; a sweep of failures is told as one."""
    assert spent({"plateau": 2}, *(trial(f"{n:04d}", [], FAILED) for n in range(9))).exhausted() is None


@pytest.mark.parametrize(("seconds", "text"), [(7200, "2h"), (5445, "1h30m45s"), (0.25, "0.25s"), (59.6, "1m")])
def test_times_are_told_as_people_write_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text

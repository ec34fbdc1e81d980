from collections.abc import Callable
from typing import Any

from orchestrator.spec.budget import Budget
from orchestrator.tuner.budget_meter import BudgetMeter
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]
COMPLETED, PRUNED, FAILED, RUNNING = Status.COMPLETED, Status.PRUNED, Status.FAILED, Status.RUNNING


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
    budget_meter.on_trial(trial("0001", [0.1]))
    assert budget_meter.exhausted() == "budget.gpu_hours: 0.0025 of 0.002 are used"
    budget_meter.on_trial(trial("0001", [0.1]))
    assert budget_meter.exhausted() == "budget.gpu_hours: 0.0025 of 0.002 are used", "a trial counts once"


def test_the_target_is_reached_by_a_completed_trial(trial: Trial) -> None:
    budget_meter = spent({"target": 0.8}, trial("0000", [0.79], COMPLETED), trial("0001", [0.9], PRUNED))
    assert budget_meter.exhausted() is None
    budget_meter.on_trial(trial("0002", [0.5, 0.8], COMPLETED))
    assert budget_meter.exhausted() == "budget.target: trial 0002 reached 0.8000, 0.8 was asked for"


def test_a_plateau_is_of_trials_begun_after_the_best(trial: Trial) -> None:
    budget_meter = spent({"plateau": 3}, trial("0000", [0.5], COMPLETED), trial("0001", [0.9], COMPLETED))
    for number, (status, score) in enumerate([(PRUNED, 0.1), (FAILED, 0.1), (RUNNING, 0.1)], start=2):
        budget_meter.on_trial(trial(f"{number:04d}", [score], status))
        assert budget_meter.exhausted() is None
    budget_meter.on_trial(trial("0004", [0.9], COMPLETED))
    assert budget_meter.exhausted() == "budget.plateau: 3 trials in a row did not beat 0.9000 of trial 0001"
    budget_meter.on_trial(trial("0005", [0.91], COMPLETED))
    assert budget_meter.exhausted() is None


def test_a_plateau_counts_anew_after_an_extension(trial: Trial) -> None:
    trials = [trial(f"{number:04d}", [0.5], COMPLETED) for number in range(5)]
    assert spent({"plateau": 3}, *trials).exhausted() is not None
    budget_meter = spent({"plateau": 3}, *trials, plateau_from=5)
    assert budget_meter.exhausted() is None
    for number in (5, 6, 7):
        budget_meter.on_trial(trial(f"{number:04d}", [0.4], COMPLETED))
    assert budget_meter.exhausted() is not None


def test_trials_that_only_fail_are_no_plateau(trial: Trial) -> None:
    """Without a best there is nothing to beat; a sweep of failures is told as one."""
    assert spent({"plateau": 2}, *(trial(f"{n:04d}", [], FAILED) for n in range(9))).exhausted() is None

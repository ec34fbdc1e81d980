"""Importance on ledgers whose truth is known."""

from typing import Any

import numpy as np
import pytest

from analysis.report.importance import MINIMUM_TRIALS, Importance, importances
from search_spaces.space import SearchSpace
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

SPACE = SearchSpace.parse(
    {
        "strategy": {"choice": ["head", "full"]},
        "balance": {"choice": ["none", "loss", "sampler"]},
        "batch_size": {"int": [8, 64]},
        "lr": [
            {"log": [1e-3, 1e-1], "when": {"strategy": "head"}},
            {"log": [1e-5, 1e-3], "when": {"strategy": "full"}},
        ],
    },
    {},
)
F1 = Objective(metric="val/macro_f1")
CONFIG = TrialConfig.model_validate(
    {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 3, "lr": 0.01}
)


def trial(number: int, parameters: dict[str, Any], score: float, status: Status = Status.COMPLETED) -> TrialResult:
    report = EpochReport(epoch=1, metrics={"val/macro_f1": score}, seconds=1, checkpoint="best")
    return TrialResult(trial_id=f"{number:04d}", config=CONFIG, parameters=parameters, status=status, reports=(report,))


def searched(count: int, seed: int, noise: float = 0.1) -> list[TrialResult]:
    """Trials in which the learning rate matters to `full` alone, and the strategy a little; nothing else does."""
    rng = np.random.default_rng(seed)
    trials = []
    for number, point in enumerate(zip(SPACE.draws(seed), range(count), strict=False)):
        parameters = point[0]
        score = 0.5 + noise * rng.normal()
        if parameters["strategy"] == "full":
            score += 0.2 * (np.log10(parameters["lr"]) + 4)
        trials.append(trial(number, parameters, float(score)))
    return trials


def of(found: list[Importance], parameter: str, **branch: str) -> Importance:
    (one,) = [each for each in found if each.parameter == parameter and each.branch == branch]
    return one


def test_what_matters_in_one_branch_is_found_there() -> None:
    found = importances(SPACE, F1, searched(80, seed=1))
    assert {(tuple(each.branch.values()), each.parameter) for each in found} == {
        *(((), name) for name in ("strategy", "balance", "batch_size")),
        *(((branch,), name) for branch in ("head", "full") for name in ("balance", "batch_size", "lr")),
    }, "a rate with two ranges is two settings"
    lr = of(found, "lr", strategy="full")
    assert lr.matters
    assert lr.share is not None
    assert 0.3 < lr.share <= 1
    assert str(lr) == f"{lr.share:.2f}"
    assert not of(found, "lr", strategy="head").matters
    assert str(of(found, "lr", strategy="head")) == "no effect seen"
    assert [each for each in found if each.matters and each.parameter != "lr"] == []


def test_with_eight_trials_nothing_is_said() -> None:
    found = importances(SPACE, F1, searched(8, seed=1))
    assert found
    assert {each.share for each in found} == {None}
    assert str(of(found, "strategy")) == f"too few trials (8 of {MINIMUM_TRIALS})"


def test_a_setting_without_effect_is_said_to_have_none() -> None:
    wrong = dict.fromkeys(("balance", "batch_size"), 0)
    for seed in range(100):
        found = importances(SPACE, F1, searched(40, seed))
        for name in wrong:
            wrong[name] += of(found, name).matters
    assert max(wrong.values()) <= 10, "no effect is said in at least 90 of 100 seeds"


def test_only_trials_with_a_result_count_and_a_loss_is_better_low() -> None:
    trials = [
        trial(number, {"strategy": "head" if number % 2 else "full"}, number % 2 + number / 1000, status)
        for number in range(60)
        for status in [(Status.COMPLETED, Status.PRUNED, Status.FAILED)[number % 3]]
    ]
    space = SearchSpace.parse({"strategy": {"choice": ["head", "full"]}}, {})
    (found,) = importances(space, F1, trials)
    assert (found.trials, found.matters) == (40, True)
    assert importances(space, F1, []) == []


@pytest.mark.parametrize("values", [["a"] * 30, [0.5] * 30])
def test_what_does_not_vary_is_not_listed(values: list[Any]) -> None:
    space = SearchSpace.parse({"optimizer": {"choice": ["a", "b"]}}, {})
    trials = [trial(number, {"optimizer": value}, number / 30) for number, value in enumerate(values)]
    assert importances(space, F1, trials) == []


def test_equal_scores_explain_nothing() -> None:
    space = SearchSpace.parse({"balance": {"choice": ["none", "loss"]}}, {})
    trials = [trial(number, {"balance": "none" if number % 2 else "loss"}, 0.5) for number in range(30)]
    (found,) = importances(space, F1, trials)
    assert (found.share, found.chance) == (0.0, 1.0)

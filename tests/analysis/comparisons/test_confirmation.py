"""Distances between finalists, on simulated values, and the record of the run that confirms them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_records import CONFIG, run_record

from analysis.comparisons.confirmation import (
    Confirmation,
    compare_finalists,
    confirmed_winner,
    read_confirmation,
)
from analysis.ledger import Extension, Ledger
from analysis.run_folder import RunFolder
from analysis.winner import unconfirmed_remark
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

Values = Mapping[str, Mapping[int, float]]

METRIC = "val/macro_f1"


def confirmed(values: Values, objective: Objective | None = None) -> Confirmation:
    objective = objective or Objective()
    count = sum(map(len, values.values()))
    return Confirmation(objective, compare_finalists(values, objective), planned=count, completed=count)


def drawn(rng: np.random.Generator, means: list[float], seeds: int = 5) -> Values:
    return {f"{number:04}": dict(enumerate(rng.normal(mean, 1.0, seeds).tolist())) for number, mean in enumerate(means)}


def share(means: list[float], holds: Any, repeats: int = 200) -> float:
    rng = np.random.default_rng(0)
    return sum(bool(holds(confirmed(drawn(rng, means)))) for _ in range(repeats)) / repeats


@pytest.mark.parametrize("finalists", [2, 3, 5])
def test_equal_finalists_are_a_tie(finalists: int) -> None:
    assert share([0.0] * finalists, lambda found: found.winner is None) >= 0.95


@pytest.mark.parametrize("means", [[0.0, 2.0], [0.0, 4.0, 2.0]])
def test_finalists_two_deviations_apart_are_told_apart(means: list[float]) -> None:
    best = f"{int(np.argmax(means)):04}"
    assert share(means, lambda found: found.winner is not None and found.winner.trial_id == best) >= 0.7


@pytest.mark.parametrize("finalists", [3, 6])
def test_a_finalist_that_is_equal_to_the_best_is_rarely_called_worse(finalists: int) -> None:
    assert share([0.0] * finalists, lambda found: not found.left_behind, repeats=400) >= 0.95


def test_intervals_cover_the_truth() -> None:
    def covers(found: Confirmation) -> bool:
        (first, *_) = (finalist for finalist in found.finalists if finalist.trial_id == "0001")
        return first.interval is not None and first.interval.low <= 1.0 <= first.interval.high

    assert 0.93 <= share([0.0, 1.0, 2.0], covers, repeats=1000) <= 0.97


def test_a_finalist_of_another_spread_is_compared_by_its_own() -> None:
    steady = {seed: 0.80 + 0.001 * seed for seed in range(5)}
    wild = {seed: 0.70 + 0.10 * (seed - 2) for seed in range(5)}
    found = confirmed({"0001": steady, "0002": wild, "0003": {seed: value - 0.05 for seed, value in steady.items()}})
    assert [finalist.trial_id for finalist in found.finalists] == ["0001", "0003", "0002"]
    assert [finalist.trial_id for finalist in found.left_behind] == ["0003"]
    assert found.winner is None


def test_the_smallest_is_the_best_of_a_loss() -> None:
    values = {"0001": {0: 0.5, 1: 0.51, 2: 0.49}, "0002": {0: 0.9, 1: 0.91, 2: 0.89}}
    found = confirmed(values, Objective(metric="val/loss", mode="min"))
    assert found.winner is not None
    assert found.winner.trial_id == "0001"
    behind = found.finalists[1].behind
    assert behind is not None
    assert behind.low < 0.4 < behind.high
    assert behind.low > 0


def test_values_that_do_not_vary_are_compared_too() -> None:
    same = confirmed({"0001": {0: 1.0, 1: 1.0}, "0002": {0: 1.0, 1: 1.0}})
    assert same.winner is None
    for seeds, is_told_apart in ((2, False), (3, False), (4, True)):
        values = {"0001": dict.fromkeys(range(seeds), 1.0), "0002": dict.fromkeys(range(seeds), 0.995)}
        assert (confirmed(values).winner is not None) is is_told_apart, seeds


def test_one_seed_tells_nothing_apart() -> None:
    found = confirmed({"0001": {0: 0.9}, "0002": {0: 0.1}})
    assert found.winner is None
    assert [finalist.interval for finalist in found.finalists] == [None, None]


# ---- on disk --------------------------------------------------------------------------------------------------------


def trained(number: int, lr: float, seed: int, value: float | None, status: Status = Status.COMPLETED) -> TrialResult:
    reports = [] if value is None else [EpochReport(epoch=1, metrics={METRIC: value}, seconds=1, checkpoint="best")]
    config = TrialConfig.from_mapping({**CONFIG, "lr": lr, "seed": seed}, "test")
    return TrialResult(
        trial_id=f"{number:04}", config=config, parameters={"lr": lr}, status=status, reports=tuple(reports)
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Three trials: 0000 of rank 1, then 0001, and 0002, which differs from 0000 in its seed alone."""
    run = RunFolder(tmp_path / "run")
    Ledger(run).write_run(run_record())
    for number, lr, seed, value in ((0, 0.1, 42, 0.9), (1, 0.2, 42, 0.8), (2, 0.1, 7, 0.7)):
        Ledger(run).write_trial(trained(number, lr, seed, value))
    return run


def confirm(run: RunFolder, *trials: TrialResult, planned: int | None = None) -> None:
    ledger = Ledger(RunFolder(run.confirm))
    ledger.write_run(run_record(name="confirm", confirms="trash", trials_planned=planned or len(trials)))
    for trial in trials:
        ledger.write_trial(trial)


def test_without_a_confirmation_the_first_of_the_leaderboard_is_the_winner(run: RunFolder) -> None:
    assert read_confirmation(run) is None
    (Path(str(run.confirm))).mkdir()
    assert read_confirmation(run) is None, "its driver has written nothing yet"
    assert confirmed_winner(run).trial_id == "0000"


def test_the_best_mean_is_the_winner_once_all_are_trained(run: RunFolder) -> None:
    half = [trained(0, 0.1, 0, 0.5), trained(1, 0.2, 0, 0.8)]
    confirm(run, *half, planned=4)
    found = read_confirmation(run)
    assert found is not None
    assert (found.is_done, found.completed) == (False, 2)
    assert confirmed_winner(run).trial_id == "0000"
    confirm(run, *half, trained(2, 0.1, 1, 0.51), trained(3, 0.2, 1, 0.81))
    found = read_confirmation(run)
    assert found is not None
    assert found.is_done
    assert [(each.trial_id, dict(each.values)) for each in found.finalists] == [
        ("0001", {0: 0.8, 1: 0.81}),
        ("0000", {0: 0.5, 1: 0.51}),
    ]
    assert confirmed_winner(run).trial_id == "0001"


def test_while_more_seeds_are_trained_the_verdict_before_them_stands(run: RunFolder) -> None:
    confirm(run, trained(0, 0.1, 0, 0.5), trained(1, 0.2, 0, 0.8), trained(2, 0.1, 1, 0.9), planned=4)
    extension = Extension(at=datetime.now(UTC), changes=("more seeds",), first_trial=2)
    Ledger(RunFolder(run.confirm)).update_run(extensions=(extension,))
    found = read_confirmation(run)
    assert found is not None
    assert not found.is_done
    assert [each.trial_id for each in found.former] == ["0001", "0000"]
    assert confirmed_winner(run).trial_id == "0001"


def test_a_first_trial_that_came_after_the_confirmation_is_named(run: RunFolder) -> None:
    confirm(run, trained(0, 0.1, 0, 0.5), trained(1, 0.2, 0, 0.8))
    assert unconfirmed_remark(run) is None
    Ledger(run).write_trial(trained(3, 0.3, 42, 0.99))
    assert "trial 0003 now leads the leaderboard but was not confirmed; the winner is still finalist 0001." in str(
        unconfirmed_remark(run)
    )


def test_a_training_that_failed_is_counted(run: RunFolder) -> None:
    confirm(
        run, trained(0, 0.1, 0, 0.5), trained(1, 0.1, 1, None, Status.FAILED), trained(2, 0.1, 3, 0.4, Status.RUNNING)
    )
    found = read_confirmation(run)
    assert found is not None
    assert (found.completed, found.failed, found.is_done) == (1, 1, False)

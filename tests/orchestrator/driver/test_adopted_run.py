import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.adopted_run import adopt_config, adopt_trial
from orchestrator.driver.retrain import retrain_winner
from orchestrator.spec.loading import load_run
from search_spaces.errors import InvalidInput
from trainables.data_config import TrainedOn
from trainables.result import TrialResult
from trainables.status import Status
from trainables.task_catalog import METRICS_VERSION

SETTINGS: dict[str, Any] = {"architecture": "test_efficientnet", "weights": "none", "batch_size": 128, "epochs": 1}
SOURCE = "wandb:someone/thaw/0123456789ab-0007"


@pytest.fixture
def held(trial: Callable[..., TrialResult]) -> Callable[..., TrialResult]:
    data = {"root": "/elsewhere", "image_size": 32, "resize_mode": "squash"}
    return lambda status=Status.COMPLETED: trial("0007", [0.5], status, data=data, **SETTINGS)


def test_a_trial_of_w_and_b_is_retrained_in_a_run_of_its_own(
    held: Callable[..., TrialResult],
    digits: Path,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    root = adopt_trial(held(), "0123456789ab-0007", SOURCE, digits)
    assert root == tmp_path / "runs" / "0123456789ab-0007"
    assert Ledger(RunFolder(root)).read_run().metrics_version == METRICS_VERSION
    winner = Leaderboard.from_run(root).winner()
    assert (winner.config.data.root, winner.config.lr, winner.objective) == (digits, held().config.lr, 0.5)
    assert retrain_winner(root).test.split == "test"
    with pytest.raises(InvalidInput, match=r"0123456789ab-0007: must not exist yet, since wandb:.* is written there"):
        adopt_trial(held(), "0123456789ab-0007", SOURCE, digits)


def test_what_cannot_be_retrained_leaves_nothing(
    held: Callable[..., TrialResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match="must be a COMPLETED trial to be retrained, got FAILED"):
        adopt_trial(held(Status.FAILED), "a", SOURCE)
    with pytest.raises(InvalidInput, match="/elsewhere"):
        adopt_trial(held(), "a", SOURCE)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_file_is_trained_once_in_a_run_of_its_own(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    file = tmp_path / "mine.yaml"
    values = {**SETTINGS, "data": {"root": str(digits), "image_size": 32}, "strategy": "head", "lr": 0.01}
    file.write_text(json.dumps(values))
    root, trial = adopt_config(file)
    assert root == tmp_path / "runs" / "mine"
    assert Ledger(RunFolder(root)).read_trial("0000").status is Status.RUNNING
    assert adopt_config(file) == (root, trial), "as after an attempt that failed"
    with pytest.raises(
        InvalidInput,
        match="0000 must have a best epoch, but was never trained; leave out --on first",
    ):
        retrain_winner(root, chosen=trial, on=TrainedOn.TRAIN_AND_VAL)
    retrained = retrain_winner(root, chosen=trial, is_first=True)
    # Its training is this one, and the trial is on record with it.
    board = Leaderboard.from_run(root)
    assert (board.winner().trial_id, board.entries[0].epoch, retrained.test.split) == ("0000", 1, "test")
    assert board.winner().config.lr == 0.01
    assert load_run(RunFolder(root)).search.trials == 1
    with pytest.raises(InvalidInput, match=r"runs/mine: must not exist yet, since .*mine.yaml is written there"):
        adopt_config(file)

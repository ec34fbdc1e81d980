from collections.abc import Callable

import pytest

from analysis.leaderboard import Leaderboard
from trainables.result import TrialResult
from trainables.status import Status


@pytest.fixture
def board(trial: Callable[..., TrialResult]) -> Leaderboard:
    long = {"architecture": "tf_mobilenetv3_small_100", "strategy": "progressive", "unfreeze_epoch": 3}
    return Leaderboard.from_trials(
        trial("x").config.objective,
        [
            trial("0000", [0.5, 0.75], Status.COMPLETED, {**long, "lr": 0.00123456, "scheduler": "cosine"}),
            trial("0001", [0.4], Status.PRUNED, {"architecture": "[b]resnet[/b]", "lr": 1e-5, "scheduler": "step"}),
            trial("0002", [], Status.FAILED, {"lr": 0.1, "scheduler": "step"}, failure="NaN in [epoch 2] :warning:"),
        ],
    )

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.tracking.flat_config import config_of, flat_config
from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data_config import SplitShares
from trainables.result import TrialResult


@pytest.fixture
def config(trial: Callable[..., TrialResult]) -> Callable[..., TrialConfig]:
    return lambda **settings: trial("0000", **settings).config


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": "head"},
        {"strategy": "partial", "trainable_stages": 2, "backbone_lr_factor": 0.1, "norm_stats": "frozen"},
        {"strategy": "gradual", "last_stage_epoch": 1, "full_after": 1, "epochs": 5, "balance": "loss"},
        {"strategy": "full", "patience": 2, "min_delta": 0.01, "mixing": "mixup", "mixing_alpha": 0.2},
        {"strategy": "full", "weights": "/w.pth", "weights_layout": "by_order"},
    ],
)
def test_a_configuration_is_read_back_equal(config: Callable[..., TrialConfig], settings: dict[str, Any]) -> None:
    given = config(**settings)
    given = given.model_copy(update={"data": given.data.model_copy(update={"split": SplitShares(test=0.1)})})
    flat = flat_config(given)
    assert config_of({**flat, "searched": "lr", "something": {"else": 1}}, "run") == given
    assert settings.items() <= flat.items()
    assert all(isinstance(value, str | int | float | bool) for value in flat.values())
    assert not [name for name in flat if "." in name]


def test_a_setting_that_does_not_apply_is_absent(config: Callable[..., TrialConfig]) -> None:
    head = flat_config(config(strategy="head"))
    absent = {"trainable_stages", "unfreeze_epoch", "patience", "min_delta", "mixing_alpha", "class_weighting"}
    absent |= {"norm_stats", "decay_to", "backbone_lr_factor", "weights_layout"}
    assert not absent & head.keys()
    assert (head["data_root"], head["objective_metric"]) == ("/photos", "val/macro_f1")
    assert "norm_stats" in flat_config(config(strategy="full"))


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({}, "somewhere: must be a trial of Thaw, but its config lacks architecture or data_root"),
        (
            {"architecture": "resnet18", "data_root": "/p", "strategy": "head", "epochs": 0, "lr": 1},
            "somewhere: epochs: ",
        ),
    ],
)
def test_a_run_of_others_is_refused(flat: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        config_of(flat, "somewhere")
    assert str(caught.value).startswith(message)

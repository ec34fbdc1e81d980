from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from trainables.config import TrialConfig
from trainables.data_config import TrainedOn
from trainables.fold_rules import folds_refusal

HEAD = {"strategy": "head", "weights": "w.safetensors", "data": {"folds": 3}}
REFUSED: list[dict[str, Any]] = [
    {"strategy": "full"},
    {"strategy": "progressive", "unfreeze_epoch": 1},
    {"weights": "none"},
    {"mixing": "mixup"},
    {"augmentation": "light"},
    {"random_erasing": 0.2},
    {"feature_views": 0},
    {"augmentation": "light", "feature_views": 4, "head_init": "probe"},
    {"normalization": "dataset"},
    {"teacher": "runs/other"},
    {"precision": "bf16"},
    {"compile": True},
]


@pytest.mark.parametrize("given", REFUSED, ids=str)
def test_what_folds_cannot_share_is_refused(given: dict[str, Any], trial_config: Callable[..., TrialConfig]) -> None:
    name = [*given][-1] if "head_init" in given else next(iter(given))
    with pytest.raises(ValidationError, match=rf"data\.folds: {name} must be .*, got .*; .*, or remove data\.folds"):
        trial_config(**HEAD | given)


def test_heads_with_and_without_fixed_views_are_taken(trial_config: Callable[..., TrialConfig]) -> None:
    for more in ({}, {"head_init": "probe"}, {"augmentation": "strong", "random_erasing": 0.2, "feature_views": 4}):
        assert folds_refusal(trial_config(**HEAD | more)) is None


def test_a_model_on_all_images_has_no_such_rule(trial_config: Callable[..., TrialConfig]) -> None:
    data = {"folds": 3, "train_on": TrainedOn.TRAIN_AND_VAL}
    assert trial_config(feature_views=0, data=data).data.folds_trained is None

from typing import Any

import pytest

from trainables.config import TrialConfig
from trainables.data.sample_random import Draw
from trainables.fixed_views import fixed_views
from trainables.loop.feature_training import VIEW_SEED, epoch_draw

SETTINGS: list[tuple[dict[str, Any], int]] = [
    ({}, 1),
    ({"feature_views": 5}, 1),
    ({"feature_views": 0}, 0),
    ({"augmentation": "light"}, 0),
    ({"random_erasing": 0.1}, 0),
    ({"augmentation": "light", "feature_views": 0}, 0),
    ({"augmentation": "light", "feature_views": 3}, 3),
    ({"random_erasing": 0.1, "feature_views": 2}, 2),
    ({"mixing": "mixup", "feature_views": 3}, 0),
    ({"mixing": "cutmix", "augmentation": "light", "feature_views": 3}, 0),
]


def config_of(**settings: Any) -> TrialConfig:
    base = {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 9, "lr": 1e-3}
    return TrialConfig.model_validate({**base, "seed": 11, **settings})


@pytest.mark.parametrize(("settings", "views"), SETTINGS)
def test_how_often_an_image_differs(settings: dict[str, Any], views: int) -> None:
    assert fixed_views(config_of(**settings)) == views


@pytest.mark.parametrize(("settings", "views"), SETTINGS)
def test_fixed_views_take_turns_and_all_else_is_drawn_by_the_trial(settings: dict[str, Any], views: int) -> None:
    config = config_of(**settings)
    for epoch in range(9):
        own = Draw(11, epoch)
        assert epoch_draw(config, epoch, "all") == own
        assert epoch_draw(config, epoch, 0) == (Draw(VIEW_SEED, epoch % views) if views > 1 else own)


def test_trials_of_several_seeds_share_the_views() -> None:
    one, other = (config_of(augmentation="light", feature_views=2, seed=seed) for seed in (1, 2))
    assert epoch_draw(one, 3, 1) == epoch_draw(other, 3, 1)

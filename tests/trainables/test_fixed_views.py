from collections.abc import Callable
from typing import Any

import pytest

from trainables.config import TrialConfig
from trainables.fixed_views import fixed_views


@pytest.mark.parametrize(
    ("given", "views"),
    [
        ({}, 1),
        ({"feature_views": 0}, 0),
        ({"feature_views": 4}, 1),
        ({"augmentation": "light"}, 0),
        ({"augmentation": "light", "feature_views": 4}, 4),
        ({"random_erasing": 0.1, "feature_views": 4}, 4),
        ({"mixing": "mixup", "feature_views": 4}, 0),
    ],
)
def test_views_are_counted(trial_config: Callable[..., TrialConfig], given: dict[str, Any], views: int) -> None:
    assert fixed_views(trial_config(**given)) == views

"""Fixed views: number of views of an image on whose features a frozen phase trains. Light: read without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.config import TrialConfig


def fixed_views(config: TrialConfig) -> int:
    """Count the fixed views of an image that a frozen phase trains on; 0: each time another, and nothing is cached.

    One without augmentation. With augmentation, `feature_views` where that is 2 or more. None for blends of images.
    """
    if config.mixing != "none":
        return 0
    if config.augmentation == "none" and not config.random_erasing:
        return min(config.feature_views, 1)
    return config.feature_views if config.feature_views > 1 else 0

"""Interval: both ends; that of a share of images, of a mean of shares, of a difference. Standard library alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """The difference of a statistic between two models, a - b, on the same images."""

    value: float
    """On the images as they are; the mean over the seeds where a model has several."""

    interval: Interval
    """Excludes 0 where the images suffice to tell the models apart."""

    a: float
    """The statistic of the first model."""

    b: float
    """The statistic of the second."""


def share_interval(hits: int, count: int, confidence: float = 0.95) -> Interval:
    """Return the interval of the share `hits / count` of images drawn at random (Wilson, 1927).

    It lies within 0 and 1 and has a width for 0 and for `count` hits too; its coverage is close to `confidence` from a
    few images on (Brown, Cai & DasGupta, 2001). Without images it is 0 to 1.
    """
    if count == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = hits / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    # Rounding would leave a hair at both ends.
    return Interval(0.0 if hits == 0 else middle - half, 1.0 if hits == count else middle + half)


def mean_share_interval(hits: Sequence[int], counts: Sequence[int], confidence: float = 0.95) -> Interval:
    """Return the interval of the mean of independent shares, each with one image or more.

    Recovers the variances from the intervals of the shares (MOVER; Zou & Donner, 2008).
    """
    shares = [hit / count for hit, count in zip(hits, counts, strict=True)]
    bounds = [share_interval(hit, count, confidence) for hit, count in zip(hits, counts, strict=True)]
    mean = sum(shares) / len(shares)
    below = sum((share - low) ** 2 for share, (low, _) in zip(shares, bounds, strict=True)) ** 0.5 / len(shares)
    above = sum((high - share) ** 2 for share, (_, high) in zip(shares, bounds, strict=True)) ** 0.5 / len(shares)
    return Interval(mean - below, mean + above)

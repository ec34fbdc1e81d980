"""Sizes of the photos of a data set, from the headers of their files."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainables.data.decode import upright_size
from trainables.data.readers import Dataset

MOST_READ = 2000
"""Files whose headers are read, at most: quantiles of more differ by less than a quantile of the photos matters."""

_QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


class Quantiles(NamedTuple):
    """Smallest value, 10 %, median, 90 % and largest value."""

    smallest: float
    low: float
    median: float
    high: float
    largest: float


@dataclass(frozen=True)
class ImageSizes:
    """Sizes of the upright photos, in pixels."""

    images: int
    """Number of photos that were looked at, evenly spread over the data set."""

    width: Quantiles
    height: Quantiles

    shorter: Quantiles
    """Of the shorter side of each."""

    aspect: Quantiles
    """Of the longer side of each over its shorter one: 1 for a square."""


def read_sizes(dataset: Dataset, most: int = MOST_READ) -> ImageSizes | None:
    """Read the sizes of at most `most` photos of a data set; None where not one of them has a header that is known."""
    samples = [sample for split in dataset.distinct_splits.values() for sample in split]
    chosen = [samples[place] for place in np.linspace(0, len(samples) - 1, min(most, len(samples))).astype(int)]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        sizes = [size for size in pool.map(lambda sample: upright_size(dataset.read(sample)), chosen) if size]
    if not sizes:
        return None
    sides = np.array(sizes, dtype=np.float64)
    shorter, longer = sides.min(axis=1), sides.max(axis=1)
    return ImageSizes(
        images=len(sides),
        width=_quantiles(sides[:, 0]),
        height=_quantiles(sides[:, 1]),
        shorter=_quantiles(shorter),
        aspect=_quantiles(longer / shorter),
    )


def _quantiles(values: npt.NDArray[np.float64]) -> Quantiles:
    # Values that occur: half a pixel is no size.
    return Quantiles(*map(float, np.quantile(values, _QUANTILES, method="inverted_cdf")))

"""Chance that belongs to a sample: uniform draws as a function of (seed, epoch, sample index), in separate streams."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Stream(IntEnum):
    """Purpose of a draw; no two streams of the same (seed, epoch) are related."""

    ORDER = 1
    AUGMENT = 2
    MIXING = 3
    ERASING = 4


class Draw(NamedTuple):
    """Which of all its draws a sample gets."""

    seed: int
    epoch: int


def draws(seed: int, epoch: int, indices: npt.NDArray[np.int64], count: int, stream: Stream) -> npt.NDArray[np.float64]:
    """Uniform draws in [0, 1), shape (n, count); row i is a function of (seed, epoch, stream, indices[i]) alone.

    SplitMix64 (Steele, Lea and Flood, 2014) with the counter set directly, so that no draw waits for another.
    """
    key = np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)
    columns = np.arange(1, count + 1, dtype=np.uint64)
    counter = np.asarray(indices).astype(np.uint64)[:, None] * np.uint64(count) + columns
    z = np.asarray(key + counter * np.uint64(0x9E3779B97F4A7C15), dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    uniform: npt.NDArray[np.float64] = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform

"""Near-duplicates: images whose perceptual hashes differ in few bits, and the groups that they form."""

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

CANDIDATE_DISTANCE = 6
"""Bits by which two images may differ that are near-duplicates if their features confirm it."""

SURE_DISTANCE = 2
"""Bits by which two images may differ that are near-duplicates without a look at their features."""

CONFIRMING_COSINE = 0.88
"""Cosine of the frozen features of two candidates from which on they are near-duplicates."""

# Pairs that are compared at once: 32 MiB of hashes.
_BLOCK = 2**22

Hashes = npt.NDArray[np.uint64]
IndexPairs = npt.NDArray[np.int64]


def near_pairs(hashes: Hashes, distance: int) -> IndexPairs:
    """Return all pairs i < j of hashes (n,) that differ in at most `distance` bits: shape (k, 2), sorted.

    Two hashes that differ in d bits agree in one of d + 1 bands of bits, so only those that do are compared.
    """
    if len(hashes) < 2:
        return np.empty((0, 2), dtype=np.int64)
    different, place = np.unique(hashes, return_inverse=True)
    codes = [np.empty(0, dtype=np.int64)]
    for band in _bands(distance + 1):
        order = np.argsort(different & band, kind="stable")
        runs = np.flatnonzero(np.diff(different[order] & band)) + 1
        for start, end in zip(np.r_[0, runs], np.r_[runs, len(order)], strict=True):
            if end - start > 1:
                codes.extend(_near(different, order[start:end], distance))
    pairs = np.unique(np.concatenate(codes))
    return _of_all(np.stack(np.divmod(pairs, len(different)), axis=1), place, len(different))


def confirmed(pairs: IndexPairs, features: npt.NDArray[np.floating], cosine: float = CONFIRMING_COSINE) -> IndexPairs:
    """Return the pairs (k, 2) whose rows of `features` (n, d) have at least this cosine."""
    rows = features.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    is_near: npt.NDArray[np.bool_] = np.sum(rows[pairs[:, 0]] * rows[pairs[:, 1]], axis=1) >= cosine
    return pairs[is_near]


def groups(count: int, pairs: IndexPairs) -> list[list[int]]:
    """Return the connected components of `count` images under the pairs (k, 2), those of one image too.

    Each is sorted, and they are in the order of their first image.
    """
    if len(pairs) == 0:
        return [[place] for place in range(count)]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    found: dict[int, list[int]] = {}
    for index, component in enumerate(connected_components(edges, directed=False)[1].tolist()):
        found.setdefault(component, []).append(index)
    return list(found.values())


def _bands(count: int) -> Iterator[np.uint64]:
    """Yield `count` masks of adjacent bits, which together are all 64."""
    edges = [64 * number // count for number in range(count + 1)]
    for low, high in itertools.pairwise(edges):
        yield np.uint64(2**high - 2**low)


def _near(hashes: Hashes, indices: npt.NDArray[np.int64], distance: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the pairs i < j among `indices` that are near, as i * n + j."""
    indices = np.sort(indices)
    rows = max(1, _BLOCK // len(indices))
    for start in range(0, len(indices), rows):
        own, others = indices[start : start + rows], indices[start:]
        bits = np.bitwise_count(hashes[own][:, None] ^ hashes[others][None])
        first, second = np.nonzero(bits <= distance)
        above = second > first
        yield own[first[above]] * len(hashes) + others[second[above]]


def _of_all(pairs: IndexPairs, place: npt.NDArray[np.int64], count: int) -> IndexPairs:
    """Return the pairs of images for `pairs` of different hashes; `place` is that of each image's hash."""
    order, sizes = np.argsort(place, kind="stable"), np.bincount(place, minlength=count)
    first = np.cumsum(sizes) - sizes  # of the images of each hash in the order
    several = np.flatnonzero(sizes > 1)
    left, right = np.concatenate([pairs, np.stack([several, several], axis=1)]).T
    totals = sizes[left] * sizes[right]
    inside = np.arange(totals.sum()) - np.repeat(np.cumsum(totals) - totals, totals)
    left, right, width = (np.repeat(each, totals) for each in (first[left], first[right], sizes[right]))
    found = np.stack([order[left + inside // width], order[right + inside % width]], axis=1)
    return np.unique(np.sort(found[found[:, 0] != found[:, 1]], axis=1), axis=0)

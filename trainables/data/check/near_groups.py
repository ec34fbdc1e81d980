"""Groups of images that look alike, from their hashes, confirmed by features where these are at hand."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from trainables.data.check.near_duplicates import (
    CANDIDATE_DISTANCE,
    SURE_DISTANCE,
    confirmed,
    groups,
    near_pairs,
)

Features = npt.NDArray[np.float32]


def near_groups(
    hashes: Sequence[int], digests: Sequence[Hashable], features: Features | None = None
) -> list[list[int]]:
    """Return the groups of near-duplicates among images with these hashes and digests, as lists of their places.

    A group holds two or more different files. Pairs are those with hashes within SURE_DISTANCE; with `features` (n, d)
    also those within CANDIDATE_DISTANCE whose features are alike. Images of one hash are compared with the first of
    them alone, so that a thousand frames of a video do not make half a million pairs.
    """
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, value in enumerate(hashes):
        places[value].append(place)
    firsts = np.array([own[0] for own in places.values()], dtype=np.int64)
    distance = SURE_DISTANCE if features is None else CANDIDATE_DISTANCE
    codes = np.array(hashes, dtype=np.uint64)
    different = near_pairs(codes[firsts], distance)
    same = np.array([[own[0], other] for own in places.values() for other in own[1:]], dtype=np.int64)
    pairs = np.concatenate([firsts[different], same.reshape(-1, 2)])
    if features is not None:
        is_sure = np.bitwise_count(codes[pairs[:, 0]] ^ codes[pairs[:, 1]]) <= SURE_DISTANCE
        pairs = np.concatenate([pairs[is_sure], confirmed(pairs[~is_sure], features)])
    return [group for group in groups(len(hashes), pairs) if len({digests[place] for place in group}) > 1]

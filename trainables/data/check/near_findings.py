"""Findings on images that look alike: perceptual hashes, confirmed by features where weights are at hand."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from trainables.data.check.finding import Finding, finding
from trainables.data.check.inspection import Inspected
from trainables.data.check.near_duplicates import (
    CANDIDATE_DISTANCE,
    SURE_DISTANCE,
    confirmed,
    groups,
    near_pairs,
)

Features = npt.NDArray[np.float32]


def near_findings(images: Sequence[Inspected], features: Features | None = None) -> Iterator[Finding]:
    """Yield a finding on each group of near-duplicates: in two splits, under two labels, or within both.

    `features` (n, d) are those of the images with measures, in their order. Without them only pairs whose hashes are
    within SURE_DISTANCE count. Equal files are one image here.
    """
    hashed = [image for image in images if image.measures is not None and image.measures.hash is not None]
    if features is not None:
        kept = [image.measures is not None and image.measures.hash is not None for image in images if image.facts]
        features = features[np.array(kept, dtype=bool)]
    for group in near_groups(hashed, features):
        members = [hashed[index] for index in group]
        paths = [image.entry.path for image in members]
        splits = sorted({image.entry.split or "" for image in members})
        labels = sorted({image.entry.label for image in members})
        if len({image.digest for image in members}) < 2:
            continue
        distance = SURE_DISTANCE if features is None else CANDIDATE_DISTANCE
        basis = f"hashes within {distance} of 64 bits{'' if features is None else ', features alike'}"
        score = float(len(members))
        if len(labels) > 1:
            yield finding("near_labels", paths, f"labels {', '.join(labels)}; {basis}", score)
        if len(splits) > 1:
            yield finding("near_splits", paths, f"in {' and '.join(splits)}; {basis}", score)
        elif len(labels) == 1:
            yield finding("near", paths, f"{len(paths)} times {labels[0]}; {basis}", score)


def near_groups(images: Sequence[Inspected], features: Features | None = None) -> list[list[int]]:
    """Return the groups of near-duplicates among images with hashes, as lists of their places.

    Images of one hash are compared with the first of them alone, so that a thousand frames of a video make no
    half a million pairs.
    """
    hashes = np.array([image.measures.hash for image in images if image.measures], dtype=np.uint64)
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, value in enumerate(hashes.tolist()):
        places[value].append(place)
    firsts = np.array([own[0] for own in places.values()], dtype=np.int64)
    distance = SURE_DISTANCE if features is None else CANDIDATE_DISTANCE
    different = firsts[near_pairs(hashes[firsts], distance)] if len(firsts) else np.zeros((0, 2), np.int64)
    same = [[own[0], other] for own in places.values() for other in own[1:]]
    pairs = np.concatenate([different.reshape(-1, 2), np.array(same, dtype=np.int64).reshape(-1, 2)])
    if features is not None:
        is_equal = np.array([images[i].digest == images[j].digest for i, j in pairs], dtype=bool)
        pairs = np.concatenate([pairs[is_equal], confirmed(pairs[~is_equal], features)])
    return groups(len(images), pairs)

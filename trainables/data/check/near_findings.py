"""Findings on images that look alike: perceptual hashes, confirmed by features where weights are at hand."""

from collections.abc import Iterator, Sequence

import numpy as np

from trainables.data.check.finding import Finding, finding
from trainables.data.check.inspection import Inspected
from trainables.data.check.near_duplicates import SURE_DISTANCE
from trainables.data.check.near_groups import Features, near_groups


def near_findings(images: Sequence[Inspected], features: Features | None = None) -> Iterator[Finding]:
    """Yield a finding on each group of near-duplicates: in two splits, under two labels, or within both.

    `features` (n, d) are those of the images without a fault, in their order. Without them only pairs whose hashes are
    within SURE_DISTANCE count. Equal files are one image here. The detail has the number of bits in which an image of
    the group differs at most from the one most like it.
    """
    is_hashed = [image.measures is not None and image.measures.hash is not None for image in images]
    hashed = [image for image, has in zip(images, is_hashed, strict=True) if has]
    if features is not None:
        usable = [image.fault is None for image in images]
        features = features[np.array(is_hashed)[usable]]
    hashes = [image.measures.hash or 0 for image in hashed if image.measures is not None]
    for group in near_groups(hashes, [image.digest for image in hashed], features):
        members = [hashed[index] for index in group]
        paths = [image.entry.path for image in members]
        splits = sorted({image.entry.split or "" for image in members})
        labels = sorted({image.entry.label for image in members})
        distance = _largest_gap([hashes[index] for index in group])
        basis = f"hashes within {distance} of 64 bits{'' if distance <= SURE_DISTANCE else ', features alike'}"
        score = float(len(members))
        if len(labels) > 1:
            yield finding("near_labels", paths, f"labels {', '.join(labels)}; {basis}", score)
        if len(splits) > 1:
            yield finding("near_splits", paths, f"in {' and '.join(splits)}; {basis}", score)
        elif len(labels) == 1:
            yield finding("near", paths, f"{len(paths)} times {labels[0]}; {basis}", score)


def _largest_gap(hashes: Sequence[int]) -> int:
    """Return the largest distance, in bits, of a hash from the one nearest to it."""
    codes = np.unique(np.array(hashes, dtype=np.uint64))
    if len(codes) == 1:
        return 0
    distances = np.bitwise_count(codes[:, None] ^ codes[None]).astype(np.int64)
    np.fill_diagonal(distances, 64)
    return int(distances.min(axis=1).max())

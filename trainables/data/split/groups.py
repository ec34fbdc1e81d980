"""Groups of images that a division keeps on one side: equal files, near-duplicates, images of one patient or scene."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from search_spaces.errors import InvalidInput, shown
from trainables.data.check.near_duplicates import SURE_DISTANCE, groups, near_pairs

GROUPED_DISTANCE = 8
"""Bits by which the perceptual hashes of two images may differ that a division keeps together."""

# More images than this, and than half of a class, are taken for a chain of different images: their distance is lowered.
_LARGEST = 16

_NAMED = 3


def joined(labels: Mapping[str, str], marks: Sequence[Mapping[str, str]], hashes: Mapping[str, int]) -> list[list[str]]:
    """Return the paths that have `labels` in groups: joined by an equal mark, as the digest of a file, or near hashes.

    An empty mark, and a path without one, joins nothing. Hashes join at `GROUPED_DISTANCE`; a group that would hold
    more than half of a class, and many images, is joined at a smaller one, down to `SURE_DISTANCE`. Groups are the same
    in any order of the paths.
    """
    paths, sizes = [*labels], Counter(labels.values())
    same = np.array([pair for known in (*marks, hashes) for pair in _equal(paths, known)], dtype=np.int64).reshape(
        -1, 2
    )
    near, distances = _near(paths, hashes)
    allowed = np.full(len(paths), GROUPED_DISTANCE)
    while True:
        is_joined = distances <= np.minimum(allowed[near[:, 0]], allowed[near[:, 1]])
        found = groups(len(paths), np.concatenate([same, near[is_joined]]))
        named = [[paths[i] for i in group] for group in found]
        chains = [
            group
            for group, names in zip(found, named, strict=True)
            if allowed[group[0]] > SURE_DISTANCE and _is_chain(Counter(labels[path] for path in names), sizes)
        ]
        if not chains:
            return named
        for group in chains:
            allowed[group] -= 1  # equal for all of them, which were of one group before


def _equal(paths: Sequence[str], known: Mapping[str, object]) -> Iterator[tuple[int, int]]:
    """Yield each path of a value that is known, and not "", with the first path of the same value, by their places."""
    first: dict[object, int] = {}
    for i, path in enumerate(paths):
        value = known.get(path)
        if value is not None and value != "":
            yield first.setdefault(value, i), i


def _near(paths: Sequence[str], hashes: Mapping[str, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return the pairs (k, 2) of places whose hashes are near and not equal, and their distances (k,).

    One image stands for all of its hash: a thousand blank ones would be half a million pairs.
    """
    of_hash = {hashes[path]: i for i, path in enumerate(paths) if path in hashes}
    different, places = np.array([*of_hash], dtype=np.uint64), np.array([*of_hash.values()], dtype=np.int64)
    pairs = near_pairs(different, GROUPED_DISTANCE)
    return places[pairs], np.bitwise_count(different[pairs[:, 0]] ^ different[pairs[:, 1]])


def _is_chain(own: Mapping[str, int], sizes: Mapping[str, int]) -> bool:
    """Return whether a group of so many images per class would swallow a class."""
    return sum(own.values()) > _LARGEST and any(2 * count > sizes[label] for label, count in own.items())


def marks_in_names(where: str, paths: Sequence[str], pattern: str) -> dict[str, str]:
    """Return what the group of a regular expression finds in the name of each file; "" where it takes no part.

    A pattern with a slash is searched in the whole path. Raises InvalidInput for a pattern without exactly one group,
    and for files that it does not match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InvalidInput(_rule(where, pattern, str(error))) from None
    if compiled.groups != 1:
        raise InvalidInput(_rule(where, pattern, f"{compiled.groups} groups"))
    found: dict[str, str] = {}
    others = []
    for path in paths:
        match = compiled.search(path if "/" in pattern else PurePosixPath(path).name)
        if match is None:
            others.append(path)
        else:
            found[path] = match[1] or ""
    if others:
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        raise InvalidInput(
            f"{where}: group_by must match the name of every file, got {shown(pattern)}, which does not match "
            f"{', '.join(islice(sorted(others), _NAMED))}{more}; correct it, or make its group optional, `(...)?`, for "
            "images that stand alone"
        )
    return found


def _rule(where: str, pattern: str, got: str) -> str:
    return (
        f"{where}: group_by must be a column of the manifest, or a regular expression with one group, as "
        rf"`patient(\d+)_`, got {shown(pattern)} ({got}); correct it"
    )

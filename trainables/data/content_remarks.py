"""Remarks on the content of a data set: files that are equal or alike where they should differ, and black images."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sized
from typing import NamedTuple

from trainables.data.check.near_groups import near_groups

# A scan whose largest value is below this holds 14 bits or fewer, and becomes at most a quarter as bright as white.
_DARK = 2**14
_NAMED = 3


class File(NamedTuple):
    """File of a data set."""

    path: str
    """Relative to the root."""

    split: str
    label: str

    digest: str
    """Hash of its bytes."""

    largest: int | None
    """Largest value of a gray image of 16 bits, None for other images."""

    hash: int | None = None
    """Perceptual hash, 64 bits; None for an image that cannot be decoded."""


def equal_remark(files: Iterable[File]) -> str | None:
    """Return one sentence on equal bytes under two labels or in two splits, without names; None where there are none.

    A file that is in two splits itself, as where val is trained on too, counts as in the last of them.
    """
    labels: defaultdict[str, set[str]] = defaultdict(set)
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for file in _once(files):
        labels[file.digest].add(file.label)
        splits[file.digest].add(file.split)
    two_labels = sum(len(names) > 1 for names in labels.values())
    counts = [f"{two_labels} under two labels"] if two_labels else []
    counts += _shared(splits.values())
    if not counts:
        return None
    return f"some images are the same byte for byte: {', '.join(counts)}; the scores of a model may mean less"


def near_remark(files: Iterable[File]) -> str | None:
    """Return one sentence on near-duplicates in two splits, without names; None where there are none.

    They are those of which perceptual hashes alone are sure. An image of one color has no such hash.
    """
    hashed = [(file, file.hash) for file in _once(files) if file.hash is not None and file.hash.bit_count() > 1]
    groups = near_groups([value for _, value in hashed], [file.digest for file, _ in hashed])
    counts = _shared({hashed[place][0].split for place in group} for group in groups)
    if not counts:
        return None
    return (
        f"some groups of images look the same and lie in two splits: {', '.join(counts)}; scores on them are too good, "
        "and `thaw data check` shows them"
    )


def black_remark(files: Iterable[File]) -> str | None:
    """Return one sentence on images of 16 bits that will look black; None where there are none."""
    dark = [(file.path, file.largest) for file in files if file.largest is not None and file.largest < _DARK]
    if not dark:
        return None
    some = ", ".join(path for path, _ in dark[:_NAMED])
    largest = max(value for _, value in dark)
    return (
        f"{len(dark)} of the images have 16 bits but no value above {largest} of 65535, and "
        f"will look almost black: {some}{', ...' if len(dark) > _NAMED else ''}; scale their values up to 65535"
    )


def skipped_remark(skipped: Mapping[str, Sized]) -> str | None:
    """Return one sentence on the images of each split that are left out as they cannot be decoded; None without any."""
    counts = [f"{len(images)} of {split}" for split, images in skipped.items() if len(images)]
    if not counts:
        return None
    return f"images that cannot be decoded are left out (data.on_bad_image: skip): {', '.join(counts)}"


def _once(files: Iterable[File]) -> Iterable[File]:
    return {file.path: file for file in sorted(files, key=lambda file: _in_order(file.split))}.values()


def _shared(groups: Iterable[set[str]]) -> list[str]:
    """Return the number of groups in each combination of splits that holds two or more."""
    shared = Counter(tuple(sorted(names, key=_in_order)) for names in groups if len(names) > 1)
    return [f"{count} in both {' and '.join(names)}" for names, count in sorted(shared.items())]


def _in_order(split: str) -> int:
    return ("train", "val", "test").index(split)

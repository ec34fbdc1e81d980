"""Remarks on the content of a data set: equal files where they should differ, and images that will look black."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sized
from typing import NamedTuple

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


def content_remarks(files: Iterable[File]) -> tuple[str, ...]:
    """Return one sentence on equal bytes under two labels or in two splits, and one on images that look black."""
    labels: defaultdict[str, set[str]] = defaultdict(set)
    splits: defaultdict[str, dict[str, None]] = defaultdict(dict)
    dark = []
    for file in files:
        labels[file.digest].add(file.label)
        splits[file.digest][file.split] = None
        if file.largest is not None and file.largest < _DARK:
            dark.append(file)
    return (*_equal(labels, splits), *_black(dark))


def skipped_remark(skipped: Mapping[str, Sized]) -> str | None:
    """Return one sentence on the images of each split that are left out as they cannot be decoded; None without any."""
    counts = [f"{len(images)} of {split}" for split, images in skipped.items() if len(images)]
    if not counts:
        return None
    return f"images that cannot be decoded are left out (data.on_bad_image: skip): {', '.join(counts)}"


def _equal(labels: dict[str, set[str]], splits: dict[str, dict[str, None]]) -> Iterable[str]:
    two_labels = sum(len(names) > 1 for names in labels.values())
    shared = Counter(tuple(sorted(names, key=_in_order)) for names in splits.values() if len(names) > 1)
    counts = [f"{two_labels} under two labels"] if two_labels else []
    counts += [f"{count} in both {' and '.join(names)}" for names, count in sorted(shared.items())]
    if counts:
        yield f"some images are the same byte for byte: {', '.join(counts)}; the scores of a model may mean less"


def _black(dark: list[File]) -> Iterable[str]:
    if dark:
        some = ", ".join(file.path for file in dark[:_NAMED])
        largest = max(file.largest or 0 for file in dark)
        yield (
            f"{len(dark)} of the images have 16 bits but no value above {largest} of 65535, and will look almost "
            f"black: {some}{', ...' if len(dark) > _NAMED else ''}; scale their values up to 65535"
        )


def _in_order(split: str) -> int:
    return ("train", "val", "test").index(split)

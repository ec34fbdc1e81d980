"""Division of images that are not split, into train, val and test."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, chain, islice
from types import MappingProxyType

from search_spaces.errors import InvalidInput, shown
from trainables.data.split.groups import joined
from trainables.data.split.wide_groups import place_groups
from trainables.data_config import SplitShares

Pairs = list[tuple[str, str]]

# So many classes are named in a message.
_NAMED = 5


def divide(
    where: str,
    entries: Mapping[str, Pairs],
    shares: SplitShares,
    digests: Mapping[str, str] = MappingProxyType({}),
    hashes: Mapping[str, int] = MappingProxyType({}),
    marks: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Pairs]:
    """Divide the (path, class name) pairs of train into train, val and test; an own test is kept as it is.

    Each class is divided by itself, in the order of a hash of the seed and the path: so neither the machine nor the
    order of the files matters, and each split has at least one image of each class. A group, see `grouped`, goes to one
    split, in the place of the first of its files; groups of several classes are placed before the others.
    `digests`, perceptual `hashes` and `marks`, what `group_by` says of each file, are by path. Raises InvalidInput
    where there is a val already, or a second test, and where a class has too few images.
    """
    _check_splits(where, entries, shares)
    images = sorted(entries["train"], key=lambda pair: pair[::-1])
    groups = grouped(images, shares, digests, hashes, marks)
    labels = [Counter(label for _, label in group) for group in groups]
    targets = wanted_images(images, shares)
    has_joined = len(groups) < len(images)
    kinds = Counter(label for own in labels for label in own)
    _check_groups(where, kinds, [*targets], shares, has_joined=has_joined)
    _check_targets(where, targets)
    narrow: dict[str, list[Pairs]] = {label: [] for label in kinds}
    for group, own in zip(groups, labels, strict=True):
        if len(own) == 1:
            narrow[group[0][1]].append(group)
    wide = [(group, own) for group, own in zip(groups, labels, strict=True) if len(own) > 1]
    scarce = {label for label, own in narrow.items() if len(own) < len(targets)}
    divided: dict[str, Pairs] = {split: [] for split in targets}
    for (group, _), split in zip(wide, place_groups([own for _, own in wide], targets, scarce), strict=True):
        divided[split] += group
    _fill(divided, narrow, targets)
    _check_classes(where, divided, kinds)
    return {**divided, **{split: pairs for split, pairs in entries.items() if split != "train"}}


def wanted_images(images: Iterable[tuple[str, str]], shares: SplitShares) -> dict[str, dict[str, int]]:
    """Return how many of the (path, class name) pairs of each class train, val and test are to have."""
    sizes = Counter(label for _, label in images)
    wanted = {split: share for split, share in (("val", shares.val), ("test", shares.test)) if share}
    taken = {
        split: {label: max(1, round(share * size)) for label, size in sizes.items()} for split, share in wanted.items()
    }
    rest = {label: size - sum(own[label] for own in taken.values()) for label, size in sizes.items()}
    return {"train": rest, **taken}


def grouped(
    images: Sequence[tuple[str, str]],
    shares: SplitShares,
    digests: Mapping[str, str],
    hashes: Mapping[str, int],
    marks: Mapping[str, str],
) -> list[Pairs]:
    """Return the (path, class name) pairs in groups that stay together, in the order of the rank of their first.

    With equal files alone, as divisions began, those of one class are a group; else those of several classes are, too.
    """
    ranked = sorted(images, key=lambda pair: _rank(shares.seed, pair[0]))
    if shares.together == "equal_files" and shares.group_by is None:
        own: dict[tuple[str, str], Pairs] = {}
        for path, label in ranked:
            own.setdefault((label, digests.get(path, path)), []).append((path, label))
        return list(own.values())
    labels = dict(ranked)
    near = hashes if shares.together == "near_duplicates" else {}
    return [[(path, labels[path]) for path in group] for group in joined(labels, [digests, marks], near)]


def _check_splits(where: str, entries: Mapping[str, Pairs], shares: SplitShares) -> None:
    if "val" in entries:
        raise InvalidInput(f"{where}: data.split is for images without val, got a val; leave out data.split")
    if "test" in entries and shares.test:
        raise InvalidInput(
            f"{where}: data.split.test is for images without test, got a test and {shares.test:g}; "
            "leave out data.split.test"
        )


def _fill(
    divided: dict[str, Pairs], groups: Mapping[str, Sequence[Pairs]], targets: Mapping[str, Mapping[str, int]]
) -> None:
    """Add the groups of each class, which hold no other, to the splits: as many to each as come closest to its target.

    Each split that is filled later is left a group, if it has no image of the class yet.
    """
    placed = {split: Counter(label for _, label in pairs) for split, pairs in divided.items()}
    filled = [split for split in targets if split != "train"]
    for label, own in groups.items():
        rest = own
        for number, split in enumerate(filled, start=1):
            left = sum(not placed[later][label] for later in (*filled[number:], "train"))
            taken = _first(rest[: max(0, len(rest) - left)], targets[split][label], placed[split][label])
            divided[split] += chain.from_iterable(rest[:taken])
            rest = rest[taken:]
        divided["train"] += chain.from_iterable(rest)


def _check_targets(where: str, targets: Mapping[str, Mapping[str, int]]) -> None:
    """Raise InvalidInput where the shares leave no image of a class to train."""
    others = [split for split in targets if split != "train"]
    for label, left in targets["train"].items():
        if left < 1:
            taken = sum(targets[split][label] for split in others)
            raise InvalidInput(
                f"{where}: data.split must leave images of each class to train, but {' and '.join(others)} take "
                f"{taken} of the {taken + left} of {label}; lower a share"
            )


def _check_groups(
    where: str, counts: Mapping[str, int], splits: Sequence[str], shares: SplitShares, *, has_joined: bool
) -> None:
    """Raise InvalidInput where a class has fewer groups than there are splits."""
    small = {label: count for label, count in sorted(counts.items()) if count < len(splits)}
    if not small:
        return
    near = "near-duplicates" if shares.together == "near_duplicates" else "equal files"
    marked = f" and those of one {shown(shares.group_by)}" if shares.group_by is not None else ""
    alike = f" ({near}{marked} count as one)" if has_joined else ""
    it, remove = ("it", "the class") if len(small) == 1 else ("them", "the classes")
    raise InvalidInput(
        f"{where}: a class to be divided must hold a different image for each of {', '.join(splits)}, got "
        f"{counts_text(small)}{alike}; add images to {it}, or remove {remove}"
    )


def _check_classes(where: str, divided: Mapping[str, Pairs], classes: Collection[str]) -> None:
    """Raise InvalidInput where a split has no image of a class, since groups of several classes left none for it."""
    for split, pairs in divided.items():
        lacking = sorted({*classes} - {label for _, label in pairs})
        if lacking:
            raise InvalidInput(
                f"{where}: data.split must give {split} images of each class, but the groups that stay together leave "
                f"none of {', '.join(islice(lacking, _NAMED))}; set another data.split.seed, or larger shares"
            )


def _first(groups: Sequence[Pairs], size: int, had: int) -> int:
    """Return how many groups come closest to `size` images with the `had` ones; fewer where two numbers do.

    At least one, if there is one, where the split had no image.
    """
    totals = list(accumulate(map(len, groups), initial=had))
    least = 1 if not had and groups else 0
    return min(range(least, len(totals)), key=lambda place: abs(totals[place] - size))


def counts_text(counts: Mapping[str, int]) -> str:
    """Return the counts of the first classes, and the number of the others, as a text."""
    some = ", ".join(f"{count} in {label}" for label, count in islice(counts.items(), _NAMED))
    return f"{some} and {len(counts) - _NAMED} more such classes" if len(counts) > _NAMED else some


def _rank(seed: int, path: str) -> tuple[bytes, str]:
    # The name on disk, whatever the locale decodes it to, in one form: the same folder has another one on a Mac.
    on_disk = os.fsencode(path).decode(errors="surrogateescape")
    name = unicodedata.normalize("NFC", on_disk).encode(errors="surrogateescape")
    return hashlib.sha256(b"%d\n%s" % (seed, name)).digest(), path

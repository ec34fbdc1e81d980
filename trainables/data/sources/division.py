"""Division of images that are not split, into train, val and test."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, groupby, islice
from types import MappingProxyType

from search_spaces.errors import InvalidInput
from trainables.data_config import SplitShares

Pairs = list[tuple[str, str]]

# So many classes are named in a message.
_NAMED = 5


def divide(
    where: str, entries: Mapping[str, Pairs], shares: SplitShares, digests: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Pairs]:
    """Divide the (path, class name) pairs of train into train, val and test; an own test is kept as it is.

    Each class is divided by itself, in the order of a hash of the seed and the path: so neither the machine nor the
    order of the files matters, and each split has at least one image of each class. Files of a class with the same
    digest by path go to one split, in the place of the first of them. Raises InvalidInput where there is a val already,
    or a second test, and where a class has too few images.
    """
    if "val" in entries:
        raise InvalidInput(f"{where}: data.split is for images without val, got a val; leave out data.split")
    if "test" in entries and shares.test:
        raise InvalidInput(
            f"{where}: data.split.test is for images without test, got a test and {shares.test:g}; "
            "leave out data.split.test"
        )
    wanted = {"val": shares.val, **({"test": shares.test} if shares.test else {})}
    divided: dict[str, Pairs] = {"train": [], **{split: [] for split in wanted}}
    by_class = groupby(sorted(entries["train"], key=lambda pair: pair[::-1]), key=lambda pair: pair[1])
    different = {label: _ranked(pairs, shares.seed, digests) for label, pairs in by_class}
    small = {label: len(groups) for label, groups in different.items() if len(groups) < len(divided)}
    if small:
        raise InvalidInput(
            f"{where}: a class to be divided must hold a different image for each of {', '.join(divided)}, got "
            f"{_counts_text(small)}; add images to {'it' if len(small) == 1 else 'them'}, or remove the "
            f"{'class' if len(small) == 1 else 'classes'}"
        )
    for label, groups in different.items():
        count = sum(map(len, groups))
        sizes = {split: max(1, round(share * count)) for split, share in wanted.items()}
        if count <= sum(sizes.values()):
            raise InvalidInput(
                f"{where}: data.split must leave images of each class to train, but {' and '.join(wanted)} take "
                f"{sum(sizes.values())} of the {count} of {label}; lower a share"
            )
        for number, (split, size) in enumerate(sizes.items()):
            taken = _first(groups[: len(groups) - len(sizes) + number], size)  # the others are given one each at least
            divided[split] += chain.from_iterable(groups[:taken])
            groups = groups[taken:]
        divided["train"] += chain.from_iterable(groups)
    return {**divided, **{split: pairs for split, pairs in entries.items() if split != "train"}}


def _ranked(pairs: Iterable[tuple[str, str]], seed: int, digests: Mapping[str, str]) -> list[Pairs]:
    """Return the pairs in the order of their rank, those of equal files together."""
    groups: dict[str, Pairs] = {}
    for path, label in sorted(pairs, key=lambda pair: _rank(seed, pair[0])):
        groups.setdefault(digests.get(path, path), []).append((path, label))
    return list(groups.values())


def _first(groups: Sequence[Pairs], size: int) -> int:
    """Return how many groups, at least one, come closest to `size` images; fewer where two numbers do."""
    totals = list(accumulate(map(len, groups)))
    return 1 + min(range(len(totals)), key=lambda place: abs(totals[place] - size))


def _counts_text(counts: Mapping[str, int]) -> str:
    some = ", ".join(f"{count} in {label}" for label, count in islice(counts.items(), _NAMED))
    return f"{some} and {len(counts) - _NAMED} more such classes" if len(counts) > _NAMED else some


def _rank(seed: int, path: str) -> tuple[bytes, str]:
    # The name on disk, whatever the locale decodes it to, in one form: the same folder has another one on a Mac.
    on_disk = os.fsencode(path).decode(errors="surrogateescape")
    name = unicodedata.normalize("NFC", on_disk).encode(errors="surrogateescape")
    return hashlib.sha256(b"%d\n%s" % (seed, name)).digest(), path

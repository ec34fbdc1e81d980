"""Division of images that are not split, into train, val and test."""

import hashlib
import os
import unicodedata
from collections.abc import Mapping
from itertools import groupby

from search_spaces.errors import InvalidInput
from trainables.data_config import SplitShares

Pairs = list[tuple[str, str]]


def divide(where: str, entries: Mapping[str, Pairs], shares: SplitShares) -> dict[str, Pairs]:
    """Divide the (path, class name) pairs of train into train, val and test; an own test is kept as it is.

    Each class is divided by itself, in the order of a hash of the seed and the path: so neither the machine nor the
    order of the files matters, and each split has at least one image of each class. Raises InvalidInput where there is
    a val already, or a second test, and where a class has too few images.
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
    for label, pairs in groupby(sorted(entries["train"], key=lambda pair: pair[::-1]), key=lambda pair: pair[1]):
        ranked = sorted(pairs, key=lambda pair: _rank(shares.seed, pair[0]))
        if len(ranked) < len(divided):
            raise InvalidInput(
                f"{where}: a class to be divided must hold an image for each of {', '.join(divided)}, "
                f"got {len(ranked)} in {label}; add images to it, or remove the class"
            )
        sizes = {split: max(1, round(share * len(ranked))) for split, share in wanted.items()}
        if len(ranked) <= sum(sizes.values()):
            raise InvalidInput(
                f"{where}: data.split must leave images of each class to train, but {' and '.join(wanted)} take "
                f"{sum(sizes.values())} of the {len(ranked)} of {label}; lower a share"
            )
        for split, size in sizes.items():
            divided[split] += ranked[:size]
            ranked = ranked[size:]
        divided["train"] += ranked
    return {**divided, **{split: pairs for split, pairs in entries.items() if split != "train"}}


def _rank(seed: int, path: str) -> tuple[bytes, str]:
    # The name on disk, whatever the locale decodes it to, in one form: the same folder has another one on a Mac.
    on_disk = os.fsencode(path).decode(errors="surrogateescape")
    name = unicodedata.normalize("NFC", on_disk).encode(errors="surrogateescape")
    return hashlib.sha256(b"%d\n%s" % (seed, name)).digest(), path

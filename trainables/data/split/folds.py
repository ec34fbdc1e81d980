"""Folds: the division of images into equal parts, each of which is held out once."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from search_spaces.errors import InvalidInput
from trainables.data.sources.division import Pairs, counts_text, grouped
from trainables.data_config import SplitShares


def pooled(entries: Mapping[str, Pairs]) -> dict[str, Pairs]:
    """Return the (path, class name) pairs of each split, those of val as part of train."""
    pool = [*entries.get("train", ()), *entries.get("val", ())]
    rest = {split: pairs for split, pairs in entries.items() if split not in ("train", "val")}
    return {"train": pool, **rest} if pool else rest


def divide_into_folds(
    where: str,
    pairs: Pairs,
    folds: int,
    shares: SplitShares,
    digests: Mapping[str, str] = MappingProxyType({}),
    hashes: Mapping[str, int] = MappingProxyType({}),
    marks: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, int]:
    """Divide (path, class name) pairs into folds; return the fold of each path, from 0.

    Each class is spread evenly, its numbers of images in two folds differ by at most 1 where no group has two. A group,
    see `grouped`, is in one fold. Neither the machine nor the order of the pairs matters, see `divide`. Raises
    InvalidInput where a class has too few different images for the folds.
    """
    groups = grouped(pairs, shares, digests, hashes, marks)
    by_class = [Counter[str]() for _ in range(folds)]
    sizes = [0] * folds
    found: dict[str, int] = {}
    for group in sorted(groups, key=len, reverse=True):  # the sort keeps the order of the rank among equals
        labels = {label for _, label in group}
        fold = min(range(folds), key=lambda each: (sum(by_class[each][name] for name in labels), sizes[each], each))
        sizes[fold] += len(group)
        by_class[fold].update(label for _, label in group)
        found.update((path, fold) for path, _ in group)
    names = sorted({label for _, label in pairs})
    lacking = [name for name in names if not all(counts[name] for counts in by_class)]
    if lacking:
        different = Counter(label for group in groups for label in {label for _, label in group})
        raise InvalidInput(
            f"{where}: a class must hold a different image for each of the {folds} folds of data.folds, got "
            f"{counts_text({name: different[name] for name in lacking})}; lower data.folds, add images, or remove the "
            f"{'class' if len(lacking) == 1 else 'classes'}"
        )
    return found

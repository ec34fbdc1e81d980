"""Findings on classes, splits and names, from the listing alone: one function per kind of check."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain

from search_spaces.plurals import counted
from trainables.data.check.finding import Finding, finding
from trainables.data.check.listing import FullListing
from trainables.data.sources.class_names import is_one_line, is_utf8, plain_name, written

FEW = {"train": 20, "val": 10, "test": 10}
"""Images of a class below which a split has few of it; images that are not split count as those of train."""


def class_findings(listing: FullListing) -> list[Finding]:
    """Return the findings on classes, splits and names."""
    return list(
        chain(
            empty_splits(listing),
            missing_classes(listing),
            small_classes(listing),
            alike(listing),
            unusable_names(listing),
        )
    )


def empty_splits(listing: FullListing) -> Iterator[Finding]:
    """Yield a finding on each split that is needed or there, and holds no image."""
    counts = Counter(entry.split for entry in listing.entries)
    if not listing.folders:
        return
    for split in dict.fromkeys(("train", "val", *listing.splits)):
        if not counts[split]:
            text = "no image" if split in listing.folders else "there is no such split"
            yield finding("empty_split", [split], text, about="splits")


def missing_classes(listing: FullListing) -> Iterator[Finding]:
    """Yield a finding on each class that train lacks, and on each of train that val or test lacks."""
    there: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
    for entry in listing.entries:
        there[entry.split][entry.label] += 1
    if not listing.folders:
        return
    train = there["train"]
    for label in sorted({entry.label for entry in listing.entries} - train.keys()):
        where = ", ".join(f"{there[split][label]} in {split}" for split in listing.splits if there[split][label])
        yield finding("lacking_train", [label], f"no image in train, {where}", about="classes", split="train")
    for label in sorted(listing.folders.get("train", frozenset()) - {entry.label for entry in listing.entries}):
        yield finding("lacking_train", [label], "a folder of train without images", about="classes", split="train")
    for split in ("val", "test"):
        if there[split]:
            for label in sorted(train.keys() - there[split].keys()):
                text = f"{split} has no image of it, and macro-F1 counts it as 0"
                yield finding("class_absent", [label], text, about="classes", split=split)


def small_classes(listing: FullListing) -> Iterator[Finding]:
    """Yield a finding on each class of which a split has few images."""
    counts = Counter((entry.split or "train", entry.label) for entry in listing.entries)
    for (split, label), count in sorted(counts.items()):
        if count < FEW[split]:
            text = f"{counted(count, 'image')} in {split}"
            yield finding("small_class", [label], text, 1 / count, about="classes", split=split)


def alike(listing: FullListing) -> Iterator[Finding]:
    """Yield a finding on each group of classes, and of files of a folder, whose names differ in form only."""
    for group in _alike({entry.label for entry in listing.entries}):
        text = f"{' and '.join(written(group))} differ only in capitals, white space or Unicode form"
        yield finding("alike_classes", group, text, about="classes")
    by_folder: defaultdict[str, set[str]] = defaultdict(set)
    for entry in listing.entries:
        folder, _, name = entry.path.rpartition("/")
        by_folder[folder].add(name)
    for folder, names in sorted(by_folder.items()):
        for group in _alike(names):
            paths = [f"{folder}/{name}" if folder else name for name in group]
            yield finding("alike_files", paths, "other systems take them for one file")


def unusable_names(listing: FullListing) -> Iterator[Finding]:
    """Yield a finding on each path that is not UTF-8, and on each class whose name is not one line."""
    for entry in listing.entries:
        if not is_utf8(entry.path):
            yield finding("unusable_name", [entry.path], "not UTF-8, which tables and records cannot hold")
    for label in sorted({entry.label for entry in listing.entries}):
        if not is_one_line(label):
            text = "a class with a line break or another control character"
            yield finding("unusable_name", [label], text, about="classes")


def _alike(names: set[str]) -> list[list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        groups[plain_name(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]

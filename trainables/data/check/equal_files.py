"""Findings on files that are the same byte for byte."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from trainables.data.check.finding import Finding, Severity, finding
from trainables.data.check.inspection import Inspected


def equal_findings(images: Iterable[Inspected], *, are_allowed: bool = False) -> Iterator[Finding]:
    """Yield the findings on each group of equal files: under two labels, in two splits, or within a split.

    `are_allowed` where a sweep is let begin with them (`data.allow: [duplicates]`).
    """
    for group in equal_groups(images):
        labels = sorted({image.entry.label for image in group})
        splits = sorted({image.entry.split or "" for image in group})
        paths = [image.entry.path for image in group]
        if len(labels) > 1:
            yield _graded(finding("equal_labels", paths, f"labels {', '.join(labels)}"), are_allowed)
        if len(splits) > 1:
            yield _graded(finding("equal_splits", paths, f"in {' and '.join(splits)}"), are_allowed)
        elif len(labels) == 1:
            where = f" in {splits[0]}" if splits[0] else ""
            yield finding("equal", paths, f"{len(paths)} times {labels[0]}{where}")


def equal_groups(images: Iterable[Inspected]) -> list[Sequence[Inspected]]:
    """Return the groups of two or more readable images with equal bytes."""
    groups: defaultdict[bytes, list[Inspected]] = defaultdict(list)
    for image in images:
        if image.fault is None:
            groups[image.digest].append(image)
    return [group for group in groups.values() if len(group) > 1]


def _graded(found: Finding, are_allowed: bool) -> Finding:
    return Finding(found.kind, Severity.WARNING, found.files, found.detail) if are_allowed else found

"""Clean manifest: the images that a sweep can use, and the reason for each that is left out."""

import csv
import io
from collections.abc import Iterable, Sequence

from trainables.data.check.check import DataCheck
from trainables.data.check.finding import Finding, Severity
from trainables.data.check.listing import ListedImage

# Of images that are equal or alike, those of the split are kept that comes first here: what is measured stays as it is.
_KEPT_FIRST = ("test", "val", "train", "")


def clean_manifest(found: DataCheck) -> tuple[list[ListedImage], dict[str, str]]:
    """Return the images to keep, and the reason for each of the others by its path.

    Left out are images that cannot be used; all of a group of equal files under two labels, since the right label is
    not known; all but one of other equal files; and of near-duplicates in two splits those outside the split of the
    first of test, val and train.
    """
    images = {image.entry.path: image.entry for image in found.images}
    excluded: dict[str, str] = {}
    classes = {path for each in found.findings if each.kind == "lacking_train" for path in each.files}
    for entry in images.values():
        if entry.label in classes:
            excluded[entry.path] = "its class has no image in train"
        elif entry.path != entry.path.strip():
            excluded[entry.path] = "its name begins or ends with white space, which a manifest does not keep"
    for each in found.findings:
        for path, reason in _reasons(each, images, excluded):
            excluded.setdefault(path, reason)
    kept = [entry for path, entry in images.items() if path not in excluded]
    return kept, {path: reason for path, reason in excluded.items() if path in images}


def manifest_csv(kept: Iterable[ListedImage]) -> str:
    """Return a manifest that `data.manifest` reads; without the column split where the images are not split."""
    entries = list(kept)
    has_splits = any(entry.split is not None for entry in entries)
    columns = ["path", "label", *(["split"] if has_splits else [])]
    return _table(columns, ([entry.path, entry.label, entry.split or ""][: len(columns)] for entry in entries))


def excluded_csv(found: DataCheck, excluded: dict[str, str]) -> str:
    """Return a table of the images that are left out, with their reasons."""
    images = {image.entry.path: image.entry for image in found.images}
    rows = ([path, images[path].label, images[path].split or "", reason] for path, reason in sorted(excluded.items()))
    return _table(["path", "label", "split", "reason"], rows)


def _reasons(each: Finding, images: dict[str, ListedImage], excluded: dict[str, str]) -> list[tuple[str, str]]:
    """Return the files of a finding to leave out, with the reason."""
    match each.kind:
        case "equal_labels":
            return [(path, f"the same bytes under two labels: {each.detail}") for path in each.files]
        case "equal" | "equal_splits":
            first, *others = _in_order(each.files, images, excluded) or [""]
            return [(path, f"the same bytes as {first}") for path in others]
        case "near_splits":
            there = _in_order(each.files, images, excluded)
            kept = {images[path].split for path in there[:1]}
            return [(path, f"near-duplicate of {there[0]}") for path in there if images[path].split not in kept]
        case _ if each.severity is Severity.REFUSED or each.kind in (
            "truncated",
            "unreadable",
            "no_image",
            "too_large",
        ):
            return [(path, f"{each.title}: {each.detail}") for path in each.files]
        case _:
            return []


def _in_order(paths: Sequence[str], images: dict[str, ListedImage], excluded: dict[str, str]) -> list[str]:
    left = [path for path in paths if path not in excluded]
    return sorted(left, key=lambda path: (_KEPT_FIRST.index(images[path].split or ""), path))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()

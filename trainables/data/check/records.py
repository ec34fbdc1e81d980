"""Records of a check: its findings as rows of a table and as JSON."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

from trainables.data.check.check import DataCheck
from trainables.data.check.finding import Finding
from trainables.data.check.listing import ListedImage

_COLUMNS = ("finding", "severity", "kind", "path", "split", "label", "detail", "score")
# OWASP, CSV Injection: with one of these a spreadsheet begins to compute.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def check_json(found: DataCheck) -> dict[str, Any]:
    """Return a check as one JSON document."""
    return {
        "root": str(found.root),
        "images": len(found.images),
        "classes": dict(sorted(Counter(image.entry.label for image in found.images).items())),
        "splits": dict(sorted(Counter(image.entry.split or "" for image in found.images).items())),
        "is_refused": found.is_refused,
        "has_features": found.has_features,
        "kinds": dict(Counter(each.kind for each in found.findings)),
        "findings": [
            {
                "kind": each.kind,
                "severity": each.severity.value,
                "files": list(each.files),
                "about": each.about,
                "split": each.split,
                "detail": each.detail,
                "score": each.score,
            }
            for each in found.findings
        ],
    }


def findings_csv(found: DataCheck) -> str:
    """Return a table in CSV: one row per file, class or split of a finding, those of one finding under one number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_harmless(value) for value in row] for row in _rows(found))
    return text.getvalue()


def _rows(found: DataCheck) -> Iterator[list[Any]]:
    entries = {image.entry.path: image.entry for image in found.images}
    for number, each in enumerate(found.findings, start=1):
        score = "" if each.score is None else round(each.score, 4)
        for name in each.files:
            yield [number, each.severity.value, each.kind, *_place(each, name, entries.get(name)), each.detail, score]


def _place(found: Finding, name: str, entry: ListedImage | None) -> tuple[str, str, str]:
    """Return path, split and label of one of the names of a finding, each in its own column."""
    if found.about == "classes":
        return "", found.split or "", name
    if found.about == "splits":
        return "", name, ""
    return (name, "", "") if entry is None else (name, entry.split or "", entry.label)


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

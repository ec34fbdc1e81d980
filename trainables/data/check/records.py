"""Records of a check: its findings as rows of a table and as JSON."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

from trainables.data.check.check import DataCheck

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
                "detail": each.detail,
                "score": each.score,
            }
            for each in found.findings
        ],
    }


def findings_csv(found: DataCheck) -> str:
    """Return a table in CSV: one row per file of a finding, those of one finding under one number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_harmless(value) for value in row] for row in _rows(found))
    return text.getvalue()


def _rows(found: DataCheck) -> Iterator[list[Any]]:
    entries = {image.entry.path: image.entry for image in found.images}
    for number, each in enumerate(found.findings, start=1):
        for path in each.files:
            entry = entries.get(path)
            place = ["", ""] if entry is None else [entry.split or "", entry.label]
            score = "" if each.score is None else round(each.score, 4)
            yield [number, each.severity.value, each.kind, path, *place, each.detail, score]


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

"""Tables as text: Markdown, and CSV that a spreadsheet takes for what it is."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# OWASP, CSV Injection: with one of these a spreadsheet begins to compute.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; numbers have four digits, None is an empty cell. Text in it stays text."""
    lines: list[Sequence[Any]] = [columns, *rows]
    texts = [f"| {' | '.join(_cell(value) for value in line)} |" for line in lines]
    return "\n".join([texts[0], f"|{' --- |' * len(columns)}", *texts[1:]])


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    for mark in "\\|`*_<>[]":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def csv_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a table with a line per row; what a row lacks is empty.

    A text like a formula gets an apostrophe, and line breaks are line feeds.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_csv_cell, columns))
    writer.writerows([_csv_cell(row.get(name, "")) for name in columns] for row in rows)
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")  # which the writer would not enclose in quotes
    return f"'{text}" if value.startswith(_FORMULA) else text

"""Tables in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any


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

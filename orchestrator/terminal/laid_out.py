"""Layout of long tables: rich takes two milliseconds for a row, and few cells have to be wrapped."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from textwrap import TextWrapper

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

_GAP = 2
# A last column narrower than this is not wrapped alone.
_LEAST = 24

# What is printed in one style, as rich calls it.
_Token = tuple[str, str]


def laid_out(table: Table, console: Console) -> Table | Text:
    """Return a table without a box as one text, in which the cells of the last column are wrapped, as rich would.

    Each cell has one style. A table that would have to be wrapped elsewhere too is returned as it is.
    """
    columns = [[_text(cell) for cell in (column.header, *column.cells)] for column in table.columns]
    widths = [max(cell_len(cell.plain) for cell in cells) for cells in columns]
    room = console.width - sum(widths[:-1]) - _GAP * (len(widths) - 1)
    if any("\n" in cell.plain for cells in columns[:-1] for cell in cells) or room < min(widths[-1], _LEAST):
        return table
    sides = [column.justify for column in table.columns]
    tokens: list[_Token] = []
    for number, (*cells, last) in enumerate(zip(*columns, strict=True)):
        style = str((table.header_style if number == 0 else table.rows[number - 1].style) or "")
        lines = [last] if _fits(last, room) else _wrapped(last, room, console)
        for order, line in enumerate(lines):
            leading = cells if order == 0 else [Text()] * len(cells)
            tokens += _row([*leading, line], widths, sides, style)
    found = Text(no_wrap=True).append_tokens(tokens)
    found.right_crop(1)
    return found


def _wrapped(cell: Text, room: int, console: Console) -> list[Text]:
    """Return the lines of a cell; those of ASCII by the standard library, in a tenth of rich's time."""
    if not cell.plain.replace("\n", "").isascii():
        return [*cell.wrap(console, room, overflow="fold")]
    wrapper = TextWrapper(room, expand_tabs=False, replace_whitespace=False, break_on_hyphens=False)
    lines = [line for part in cell.plain.split("\n") for line in wrapper.wrap(part) or [""]]
    return [Text(line, cell.style) for line in lines]


def _row(cells: Sequence[Text], widths: Sequence[int], sides: Sequence[str], style: str) -> list[_Token]:
    """Return one line, with its break and without blanks before it."""
    tokens: list[_Token] = []
    for cell, width, side in zip(cells, widths, sides, strict=True):
        blank = (" " * (width - cell_len(cell.plain)), "")
        own = (cell.plain, " ".join(name for name in (style, _name(cell.style)) if name))
        tokens += [blank, own] if side == "right" else [own, blank]
        tokens.append((" " * _GAP, ""))
    while tokens and not tokens[-1][0].strip():
        tokens.pop()
    if tokens:
        tokens[-1] = (tokens[-1][0].rstrip(), tokens[-1][1])
    # Neighbors of one style as one: most of a row.
    joined = [("".join(text for text, _ in group), own) for own, group in groupby(tokens, key=itemgetter(1))]
    return [*joined, ("\n", "")]


def _name(style: str | Style) -> str:
    return "" if isinstance(style, Style) and not style else str(style)


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def _fits(cell: Text, room: int) -> bool:
    return "\n" not in cell.plain and cell_len(cell.plain) <= room

"""Layout of long tables: rich takes two milliseconds for a row, and few cells have to be wrapped."""

from collections.abc import Sequence
from textwrap import TextWrapper

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

_BETWEEN = "  "
# A last column narrower than this is not wrapped alone.
_LEAST = 24

# What is printed in one style, as rich calls it: the text, and the name of the style.
_Token = tuple[str, str]


def laid_out(table: Table, console: Console) -> Table | Text:
    """Return a table without a box as one text, in which the cells of the last column are wrapped, as rich would.

    Each cell has one style. A table that would have to be wrapped elsewhere too is returned as it is.
    """
    columns = [[_token(cell) for cell in (column.header, *column.cells)] for column in table.columns]
    widths = [max(cell_len(text) for text, _ in cells) for cells in columns]
    room = console.width - sum(widths[:-1]) - len(_BETWEEN) * (len(widths) - 1)
    if any("\n" in text for cells in columns[:-1] for text, _ in cells) or room < min(widths[-1], _LEAST):
        return table
    sides = [column.justify for column in table.columns]
    tokens: list[_Token] = []
    for number, (*cells, last) in enumerate(zip(*columns, strict=True)):
        style = str((table.header_style if number == 0 else table.rows[number - 1].style) or "")
        for line in [last] if _fits(last, room) else _wrapped(last, room, console):
            tokens += _row([*cells, line], widths, sides, style)
            cells = [("", "")] * len(cells)
    found = Text(no_wrap=True).append_tokens(tokens)
    found.right_crop(1)
    return found


def _wrapped(cell: _Token, room: int, console: Console) -> list[_Token]:
    """Return the lines of a cell; those of ASCII by the standard library, in a tenth of rich's time."""
    text, style = cell
    if not text.isascii():
        return [(line.plain, style) for line in Text(text).wrap(console, room, overflow="fold")]
    wrapper = TextWrapper(room, expand_tabs=False, replace_whitespace=False, break_on_hyphens=False)
    return [(line, style) for part in text.split("\n") for line in wrapper.wrap(part) or [""]]


def _row(cells: Sequence[_Token], widths: Sequence[int], sides: Sequence[str], style: str) -> list[_Token]:
    """Return one line, with its break and without blanks before it."""
    tokens: list[_Token] = []
    plain = ""  # neighbors without a style are one token: most of a row
    for (text, own), width, side in zip(cells, widths, sides, strict=True):
        blank = " " * (width - cell_len(text))
        if not (style or own):
            plain += (blank + text if side == "right" else text + blank) + _BETWEEN
            continue
        before, after = (blank, "") if side == "right" else ("", blank)
        tokens += [(plain + before, ""), (text, f"{style} {own}" if style and own else style or own)]
        plain = after + _BETWEEN
    tokens.append((plain, ""))
    while tokens and not (last := tokens[-1][0].rstrip()):
        tokens.pop()
    return [*tokens[:-1], (last, tokens[-1][1]), ("\n", "")] if tokens else [("\n", "")]


def _token(cell: object) -> _Token:
    if not isinstance(cell, Text):
        return str(cell), ""
    return cell.plain, "" if isinstance(cell.style, Style) and not cell.style else str(cell.style)


def _fits(cell: _Token, room: int) -> bool:
    return "\n" not in cell[0] and cell_len(cell[0]) <= room

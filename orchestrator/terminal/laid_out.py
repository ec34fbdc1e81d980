"""Layout of long tables: rich takes two milliseconds for a row, and few cells have to be wrapped."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from textwrap import TextWrapper

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

_BETWEEN = "  "
# A last column narrower than this is not wrapped alone.
_LEAST = 24

# What is printed in one style, as rich calls it: the text, and the name of the style.
_Token = tuple[str, str]


@dataclass(frozen=True)
class LaidOut:
    """LaidOut: lines of a table as rich prints them, without its search for places to break them."""

    tokens: Sequence[_Token]
    """Texts with their styles; the last ends with a line break."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the tokens, neighbors of one style as one segment."""
        for style, same in groupby(self.tokens, key=itemgetter(1)):
            yield Segment("".join(text for text, _ in same), console.get_style(style) if style else None)


def laid_out(table: Table, console: Console) -> Table | LaidOut:
    """Return a table without a box as lines, in which the cells of the last column are wrapped, as rich would.

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
    return LaidOut(tokens)


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

"""Layout of long tables: rich takes two milliseconds for a row, and few cells have to be wrapped."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from textwrap import TextWrapper

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from orchestrator.terminal.trial_table import Column, TrialTable

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


def laid_out(table: TrialTable, console: Console) -> TrialTable | LaidOut:
    """Return a table as lines, in which the cells of the last column are wrapped, as rich would.

    A table that would have to be wrapped elsewhere too is returned as it is.
    """
    *columns, last = table.columns
    indent = " " * sum(column.width + len(_BETWEEN) for column in columns)
    room = console.width - len(indent)
    if any("\n" in text for column in columns for text in column.texts) or room < min(last.width, _LEAST):
        return table
    tokens: list[_Token] = []
    for row, (*cells, lines) in enumerate(zip(*map(_padded, columns), _wrapped(last, room, console), strict=True), -1):
        style = table.style(row)
        first, *more = lines
        tokens += _first_line([*cells, first], style)
        for line, own in more:
            tokens += [(f"\n{indent}" if line else "\n", ""), (line, f"{style} {own}".strip())]
        tokens.append(("\n", ""))
    return LaidOut(tokens)


def _padded(column: Column) -> Iterator[_Token]:
    """Yield the cells of a column with blanks up to the next one, and their own styles."""
    styles = ["", *(str(cell.style) if isinstance(cell, Text) else "" for cell in column.cells)]
    for text, style in zip(column.texts, styles, strict=True):
        blank = " " * (column.width - column.measure(text))
        yield (blank + text if column.is_number else text + blank) + _BETWEEN, style


def _wrapped(column: Column, room: int, console: Console) -> Iterator[list[_Token]]:
    """Yield the lines of each cell; those of ASCII by the standard library, in a tenth of rich's time."""
    wrapper = TextWrapper(room, expand_tabs=False, replace_whitespace=False, break_on_hyphens=False)
    for text, (padded, style) in zip(column.texts, _padded(column), strict=True):
        if "\n" not in text and column.measure(text) <= room:
            yield [(padded, style)]
        elif text.isascii():
            yield [(line, style) for part in text.split("\n") for line in wrapper.wrap(part) or [""]]
        else:
            yield [(line.plain.rstrip(), style) for line in Text(text).wrap(console, room, overflow="fold")]


def _first_line(cells: Iterable[_Token], style: str) -> list[_Token]:
    """Return the first line of a row, of which the words are styled and not the blanks around them."""
    tokens: list[_Token] = []
    for text, own in cells:
        word = text.strip()
        if not word or not (style or own):
            tokens.append((text, ""))
            continue
        before, after = text.split(word, 1)
        tokens += [(before, ""), (word, f"{style} {own}".strip()), (after, "")]
    while tokens and not (last := tokens[-1][0].rstrip()):
        tokens.pop()
    return [*tokens[:-1], (last, tokens[-1][1])] if tokens else []

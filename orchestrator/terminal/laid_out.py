"""Layout of long tables: rich takes two milliseconds for a row, and few cells have to be wrapped."""

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_GAP = 2
# A last column narrower than this is not wrapped alone.
_LEAST = 24


def laid_out(table: Table, console: Console) -> Table | Text:
    """Return a table without a box as one text, in which the cells of the last column are wrapped, as rich would.

    A table that would have to be wrapped elsewhere too is returned as it is.
    """
    columns = [[_text(cell) for cell in (column.header, *column.cells)] for column in table.columns]
    widths = [max(cell_len(cell.plain) for cell in cells) for cells in columns]
    room = console.width - sum(widths[:-1]) - _GAP * (len(widths) - 1)
    if any("\n" in cell.plain for cells in columns[:-1] for cell in cells) or room < min(widths[-1], _LEAST):
        return table
    found = Text(no_wrap=True)
    for number, (*cells, last) in enumerate(zip(*columns, strict=True)):
        style = (table.header_style if number == 0 else table.rows[number - 1].style) or ""
        lines = [last] if _fits(last, room) else [*last.wrap(console, room, overflow="fold")]
        for order, line in enumerate(lines):
            row = Text(style=style)
            for cell, width, column in zip(cells, widths, table.columns, strict=False):
                gap = " " * (width - cell_len(cell.plain)) if order == 0 else " " * width
                text = cell if order == 0 else Text()
                row.append_text(Text(gap).append_text(text) if column.justify == "right" else text.copy().append(gap))
                row.append(" " * _GAP)
            row.append_text(line).rstrip()
            found.append_text(row).append("\n")
    found.right_crop(1)
    return found


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def _fits(cell: Text, room: int) -> bool:
    return "\n" not in cell.plain and cell_len(cell.plain) <= room

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.terminal.laid_out import LaidOut, laid_out

words = st.text(st.sampled_from("abcé漢,="), max_size=9)
sentences = st.lists(st.text(st.sampled_from("ab,= "), min_size=1, max_size=40), max_size=9).map(" ".join)
lasts = st.lists(sentences, min_size=1, max_size=2).map("\n".join)
rows = st.lists(st.tuples(words, words, lasts), min_size=1, max_size=5)


def table(cells: list[tuple[str, str, str]]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("rank", justify="right", no_wrap=True)
    made.add_column("status", no_wrap=True)
    made.add_column("parameters", overflow="fold")
    for first, second, last in cells:
        made.add_row(first, Text(second, style="green"), Text(last), style="dim" if first == "a" else None)
    return made


def lines(found: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(found, soft_wrap=isinstance(found, LaidOut))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@given(rows, st.integers(60, 90))
def test_the_words_are_where_rich_puts_them(cells: list[tuple[str, str, str]], width: int) -> None:
    made = laid_out(table(cells), Console(width=width))
    assert isinstance(made, LaidOut)
    assert lines(made, width) == lines(table(cells), width)


def test_styles_are_kept() -> None:
    found = laid_out(table([("a", "b", "c")]), Console(width=80))
    assert isinstance(found, LaidOut)
    shown = io.StringIO()
    Console(file=shown, width=80, force_terminal=True, color_system="standard").print(found, soft_wrap=True)
    head, row = shown.getvalue().splitlines()
    assert "\x1b[1m" in head
    assert "\x1b[2;32mb" in row


@pytest.mark.parametrize(
    "made", [table([("a\nb", "c", "d")]), table([("a", "c" * 70, "d" * 30)])], ids=["two-lines", "no-room"]
)
def test_what_must_be_wrapped_elsewhere_is_left_to_rich(made: Table) -> None:
    assert laid_out(made, Console(width=80)) is made

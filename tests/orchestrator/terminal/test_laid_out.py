import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from rich.text import Text

from orchestrator.terminal.laid_out import LaidOut, laid_out
from orchestrator.terminal.trial_table import Column, TrialTable

words = st.text(st.sampled_from("abcé漢,="), max_size=9)
sentences = st.lists(st.text(st.sampled_from("ab,= "), min_size=1, max_size=40), max_size=9).map(" ".join)
lasts = st.lists(sentences, min_size=1, max_size=2).map("\n".join)
rows = st.lists(st.tuples(words, words, lasts), min_size=1, max_size=5)


def table(cells: list[tuple[str, str, str]]) -> TrialTable:
    ranks, statuses, parameters = zip(*cells, strict=True)
    columns = [
        Column("rank", ranks, is_number=True),
        Column("status", [Text(status, style="green") for status in statuses]),
        Column("parameters", parameters, is_setting=True),
    ]
    return TrialTable(columns, trials=len(cells) - ranks.count("a"))


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


def test_a_last_column_of_numbers_is_aligned_on_the_right() -> None:
    made = TrialTable([Column("trial", ["0", "1"]), Column("seconds", ["4.0", "12.0"], is_number=True)], trials=1)
    assert (
        lines(laid_out(made, Console(width=80)), 80)
        == lines(made, 80)
        == ["trial  seconds", "0          4.0", "1         12.0"]
    )


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
def test_what_must_be_wrapped_elsewhere_is_left_to_rich(made: TrialTable) -> None:
    assert laid_out(made, Console(width=80)) is made

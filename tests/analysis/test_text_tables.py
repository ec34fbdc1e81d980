import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.text_tables import csv_table, markdown_table


def test_numbers_are_short_and_gaps_empty() -> None:
    lines = markdown_table(["name", "value"], [["a", 0.123456], ["b", None], [3, True]]).splitlines()
    assert lines == ["| name | value |", "| --- | --- |", "| a | 0.1235 |", "| b |  |", "| 3 | True |"]


def test_text_stays_text() -> None:
    (_, _, line) = markdown_table(["a"], [["x | <b>*y*</b>\n`z` [w](v)\\"]]).splitlines()
    assert line == r"| x \| \<b\>\*y\*\</b\> \`z\` \[w\](v)\\ |"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x")'])
def test_a_formula_is_a_text(text: str) -> None:
    head, row = csv.reader(io.StringIO(csv_table([text], [{text: text}])))
    assert (head, row) == ([f"'{text}"], [f"'{text}"])


def test_numbers_stay_numbers() -> None:
    assert csv_table(["a", "b", "c"], [{"a": -1.5, "c": None}]) == "a,b,c\n-1.5,,\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=4))
def test_every_text_is_read_back_but_for_the_apostrophe(texts: list[str]) -> None:
    names = [str(number) for number in range(len(texts))]
    written = csv_table(names, [dict(zip(names, texts, strict=True))])
    _, row = csv.reader(io.StringIO(written, newline=""))
    expected = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    assert [value.removeprefix("'") for value in row] == [text.removeprefix("'") for text in expected]
    assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in row)

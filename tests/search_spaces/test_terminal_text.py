import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.terminal_text import without_colors, without_controls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photos/cat.jpg", "photos/cat.jpg"),
        ("café 猫 🐈", "café 猫 🐈"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2Jcat", r"\x1b[2Jcat"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("back\r\x08", r"back\r\x08"),
        ("\x9b31m", r"\x9b31m"),
        ("gpj.\u202etac", r"gpj.\u202etac"),
        ("line\u2028end", r"line\u2028end"),
        ("not UTF-8 \udcff", r"not UTF-8 \udcff"),
        ("nul\0", r"nul\x00"),
    ],
)
def test_a_control_character_is_written_out(text: str, shown: str) -> None:
    assert without_controls(text) == shown


@given(st.text())
def test_nothing_is_left_that_controls_a_terminal_and_a_second_time_changes_nothing(text: str) -> None:
    shown = without_controls(text)
    assert all(mark.isprintable() or mark in "\n\t" or ord(mark) > 0x9F for mark in shown)
    assert without_controls(shown) == shown


def test_a_log_loses_its_colors() -> None:
    assert without_colors("\x1b[36m(pid=1)\x1b[0m done\x1b[2K") == r"(pid=1) done\x1b[2K"

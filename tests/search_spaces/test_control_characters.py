import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.control_characters import escape_controls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\rb\x9bc\u202ed", "a\\rb\\x9bc\\u202ed"),
        ("玻璃 café 👩\u200d🔬", "玻璃 café 👩\u200d🔬"),
    ],
)
def test_only_control_characters_are_escaped(text, shown):
    assert escape_controls(text) == shown


@given(st.text())
def test_it_changes_nothing_a_second_time(text):
    assert escape_controls(escape_controls(text)) == escape_controls(text)
    assert "\x1b" not in escape_controls(text)

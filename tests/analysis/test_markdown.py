from analysis.markdown import markdown_table


def test_numbers_are_short_and_gaps_empty() -> None:
    lines = markdown_table(["name", "value"], [["a", 0.123456], ["b", None], [3, True]]).splitlines()
    assert lines == ["| name | value |", "| --- | --- |", "| a | 0.1235 |", "| b |  |", "| 3 | True |"]


def test_text_stays_text() -> None:
    (_, _, line) = markdown_table(["a"], [["x | <b>*y*</b>\n`z` [w](v)\\"]]).splitlines()
    assert line == r"| x \| \<b\>\*y\*\</b\> \`z\` \[w\](v)\\ |"

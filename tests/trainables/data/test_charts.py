import numpy as np
import pytest
from PIL import Image

from trainables.data.charts import Bars, Row, draw_bars, draw_rows, stack

RED, BLUE = (Image.new("RGB", (10, 10), color) for color in ("red", "blue"))
BAR = (0x3B, 0x78, 0xB5)


def longest_runs(picture: Image.Image) -> list[int]:
    """The lengths of the bars in pixels, from the top: one entry for each bar."""
    lengths = (np.asarray(picture) == BAR).all(axis=2).sum(axis=1)
    edges = np.flatnonzero(np.diff(lengths, prepend=0))
    return [int(lengths[row]) for row in edges if lengths[row]]


def count(picture: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.asarray(picture) == color).all(axis=2).sum())


def test_a_row_shows_each_picture_at_the_same_size() -> None:
    picture = draw_rows([Row("first", ["a note"], [RED, RED, BLUE]), Row("second", [], [BLUE.resize((50, 50))])])
    assert picture.mode == "RGB"
    assert count(picture, (255, 0, 0)) == count(picture, (0, 0, 255)) == 2 * 120 * 120


def test_a_row_is_as_high_as_its_most_lines_of_captions() -> None:
    plain, one, two = (Row("row", [], [RED, BLUE], captions) for captions in ((), [("a",), ()], [("a",), ("b", "c")]))
    assert one.height - plain.height == two.height - one.height > 0
    assert draw_rows([two]).height > draw_rows([plain]).height


def test_a_bar_is_as_long_as_its_share_of_the_scale() -> None:
    def lengths(*values: float | None, scale: float = 10) -> list[int]:
        labels = [f"class {number}" for number in range(len(values))]
        return longest_runs(draw_bars(labels, [Bars("images", "in all", values, scale)]))

    full, half, none = lengths(10), lengths(10, 5), lengths(10, None, 0, 5)
    assert full[0] > 200
    assert half == [full[0], pytest.approx(full[0] / 2, abs=1)]
    assert none == half, "no bar where there is no value, and none for 0"
    assert lengths(0, 0, scale=0) == []


def test_a_panel_more_is_wider_and_a_label_more_is_higher() -> None:
    bars = Bars("images", "in all", [1, 2], 2)
    one, two = draw_bars(["a", "b"], [bars]), draw_bars(["a", "b"], [bars, bars])
    assert (two.height, two.width > one.width) == (one.height, True)
    assert draw_bars(["a"], [Bars("images", "", [1], 2)]).height < one.height


@pytest.mark.parametrize("label", ["a" * 500, "Äpfel und Öl", "玻璃", "e\u0301", ""])
def test_any_label_is_drawn_within_its_column(label: str) -> None:
    bars = [Bars("images", "in all", [1], 1)]
    drawn, short = draw_bars([label], bars), draw_bars(["a"], bars)
    assert drawn.size == short.size
    assert longest_runs(drawn) == longest_runs(short), "no letter lies on a bar"


def test_pictures_are_stacked_from_the_left() -> None:
    stacked = stack([RED, BLUE.resize((20, 5))])
    assert stacked.size == (20, 15)
    assert stacked.getpixel((0, 9)) == (255, 0, 0)
    assert stacked.getpixel((19, 0)) == (255, 255, 255)
    assert stacked.getpixel((19, 10)) == (0, 0, 255)

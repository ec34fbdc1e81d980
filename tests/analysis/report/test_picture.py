import io
import subprocess
import sys

import plotly.graph_objects as go
import pytest
from PIL import Image
from report_runs import HOSTILE

from analysis.report import picture
from analysis.report.panel import figure, plain
from analysis.report.panels import figures
from analysis.report.picture import png, svg
from analysis.run_folder import RunFolder


def test_every_figure_of_a_run_has_its_picture(run: RunFolder) -> None:
    for name, made in figures(run).items():
        text = svg(made)
        assert text.startswith("<svg"), name
        for title in (made.layout.xaxis.title.text, made.layout.yaxis.title.text):
            assert not title or title in text, name


def test_plots_that_share_a_scale_share_it_in_the_picture(run: RunFolder) -> None:
    made = figures(run)["slices"]
    limits = {axes.get_ylim() for axes in picture._drawn(made).axes}
    assert len(limits) == 1


def test_equal_figures_make_equal_pictures(run: RunFolder) -> None:
    made = figures(run)["strategies"]
    assert svg(made) == svg(made)


def test_names_are_text() -> None:
    made = figure(HOSTILE, "y", [go.Scatter(x=[plain(HOSTILE), None, "b"], y=[1, 2, None], name=plain(HOSTILE))])
    text = svg(made)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $x^2$" in text
    assert "<script" not in text and "<b>" not in text


def test_a_picture_of_pixels_has_two_for_each_of_a_drawing(run: RunFolder) -> None:
    with Image.open(io.BytesIO(png(figures(run)["curves"]))) as image:
        assert (image.size, image.mode) == ((1800, 840), "P")


def test_numbers_in_names_keep_their_digits() -> None:
    made = figure("0.123456", "y", [go.Scatter(x=[1.23456, 2], y=[1, 2])])
    assert "0.123456" in svg(made)


def test_points_of_none_are_left_out() -> None:
    gap = go.Scatter(x=[1, None, 3], y=[1, None, 3], mode="lines+markers", line={"color": "red", "dash": "dot"})
    assert "nan" not in svg(figure("x", "y", [gap]))


def test_a_kind_that_cannot_be_drawn_is_named() -> None:
    with pytest.raises(ValueError, match="scatter, bar, heatmap, box, got pie"):
        svg(go.Figure(go.Pie(values=[1])))


# Without the threads of other tests, which a fork would leave in any state.
SIDE_BY_SIDE = """
import plotly.graph_objects as go
from analysis.report import picture

many = [go.Figure(go.Scatter(x=[*range(3000)], y=[n * m % 7 for n in range(3000)], mode="markers")) for m in (1, 2)]
few = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], mode="markers"))
figures = [many[0], few, many[1]]
assert sum(map(picture._markers, figures)) > picture._WORTH_PROCESSES
assert picture.image_addresses(figures) == [*map(picture._image_address, figures)]
print([address.partition(";")[0].partition(",")[0] for address in picture.image_addresses(figures)])
"""


def test_pictures_drawn_side_by_side_are_those_drawn_one_by_one_and_in_order() -> None:
    ended = subprocess.run([sys.executable, "-c", SIDE_BY_SIDE], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "['data:image/png', 'data:image/svg+xml', 'data:image/png']"

import io

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

"""Picture: a panel's figure drawn without a browser, for readers without scripts, for print, and as files.

Plotly's own export drives a Chrome, which a cluster does not have; matplotlib draws the kinds of traces that the panels
use, from the same figure. A kind that is not known here raises ValueError, so that no panel is without its picture.
"""

import base64
import html
import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import matplotlib
import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MultipleLocator, NullFormatter, PercentFormatter
from PIL import Image

_WIDTH, _DPI = 900, 100
# Numbers of which the eye does not see all digits.
_LONG = re.compile(r"\d+\.\d{2,}")
_KINDS = ("scatter", "bar", "heatmap", "box")
# That stand side by side on the whole width.
_LETTERS = 130
# Of two that lie over one another, the higher is seen.
_POINTS, _LINES, _WORDS = 2, 3, 4
# More are not told apart in a drawing.
_COLORS = 64
_MARKERS = {
    "circle": "o",
    "diamond": "D",
    "diamond-open": "D",
    "circle-open": "o",
    "x": "x",
    "square": "s",
    "square-open": "s",
}
# Letters of an address that need no escape within double quotes.
_SAFE = " !$'()*+,/:;<=>?@[]^`{|}~"
# Letters of a drawing beyond which its pixels are fewer.
_LARGE = 60_000
# Markers, each of which takes some 400 letters: with more there is no need to draw it twice.
_MANY = 150
# Markers that take longer to draw than processes take to start.
_WORTH_PROCESSES = 5_000
_thousands = EngFormatter(sep="")
_LOOK: dict[Any, Any] = {
    "text.parse_math": False,  # a name with dollar signs is no formula
    "svg.fonttype": "none",  # the reader's browser has the letters of the reader's language
    "svg.hashsalt": "thaw",  # equal figures make equal files
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans", "sans-serif"],  # every word of the file names them
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#d8dee4",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eef1f4",
}


def image_addresses(figures: Sequence[go.Figure]) -> list[str]:
    """Return a picture of each figure as the address of an image that lies in the page, within double quotes.

    Figures of many points are drawn side by side, in processes.
    """
    if sum(map(_markers, figures)) <= _WORTH_PROCESSES:
        return [*map(_image_address, figures)]
    with ProcessPoolExecutor(min(len(figures), os.cpu_count() or 1)) as pool:
        return [*pool.map(_image_address, figures)]


def _image_address(figure: go.Figure) -> str:
    drawing = quote(svg(figure), safe=_SAFE) if _markers(figure) <= _MANY else None
    if drawing is None or len(drawing) > _LARGE:
        return f"data:image/png;base64,{base64.b64encode(png(figure)).decode()}"
    return f"data:image/svg+xml,{drawing}"


def _markers(figure: go.Figure) -> int:
    return sum(len(trace.x) for trace in figure.data if trace.type == "scatter" and "markers" in (trace.mode or ""))


def svg(figure: go.Figure) -> str:
    """Return the picture as SVG, `_WIDTH` pixels wide."""
    with _look():
        file = io.StringIO()
        nothing: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Type", "Format"))
        canvas: Any = FigureCanvasSVG(_drawn(figure))
        canvas.print_svg(file, metadata=nothing)  # `savefig` would draw twice
    text = file.getvalue()
    tags = re.compile("<[^>]+>")
    rounded = tags.sub(lambda tag: _LONG.sub(lambda number: f"{float(number[0]):.1f}", tag[0]), text)
    return " ".join(rounded[rounded.index("<svg") :].split())


def png(figure: go.Figure) -> bytes:
    """Return the picture as PNG, of two pixels for each of the SVG's, which is smaller where there are many points."""
    file = io.BytesIO()
    with _look():
        drawn = _drawn(figure)
        drawn.set_dpi(2 * _DPI)
        canvas: Any = FigureCanvasAgg(drawn)  # `savefig` would draw twice, and write a file to be read again
        canvas.draw()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    indexed = pixels.quantize(_COLORS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    corner: Any = indexed.getpixel((0, 0))
    palette = indexed.getpalette() or []
    palette[3 * corner : 3 * corner + 3] = [255] * 3  # the octree's white is nearly white
    indexed.putpalette(palette)
    indexed.save(file, "PNG", optimize=True)
    return file.getvalue()


@contextmanager
def _look() -> Iterator[None]:
    with matplotlib.rc_context(_LOOK), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font|constrained_layout not applied")
        yield


def _drawn(figure: go.Figure) -> Figure:
    unknown = {trace.type for trace in figure.data} - {*_KINDS}
    if unknown:
        raise ValueError(f"a picture can be drawn of {', '.join(_KINDS)}, got {', '.join(sorted(unknown))}")
    layout = figure.layout
    drawn = Figure(figsize=(_WIDTH / _DPI, (layout.height or 420) / _DPI), dpi=_DPI, layout="constrained")
    places = _places(figure)
    rows, columns = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    grid = drawn.add_gridspec(rows, columns)
    of_axis: dict[str, Axes] = {}
    for (x, y), (row, column) in places.items():
        scale = _axis(layout, y).matches or y
        axes = drawn.add_subplot(grid[row, column], sharey=of_axis.get(scale))
        of_axis.setdefault(scale, axes)
        own = [trace for trace in figure.data if ((trace.xaxis or "x"), (trace.yaxis or "y")) == (x, y)]
        _Plot(axes, layout, x, y).draw(own)
        if _axis(layout, y).showticklabels is False:
            axes.tick_params(labelleft=False)
    handles = {
        label: handle for axes in drawn.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if len(handles) > 1 and layout.showlegend is not False:
        drawn.legend(handles.values(), handles, loc="outside lower center", ncols=min(len(handles), 5), frameon=False)
    return drawn


def _places(figure: go.Figure) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the row, from the top, and the column of each pair of axes that has traces."""
    pairs = dict.fromkeys((trace.xaxis or "x", trace.yaxis or "y") for trace in figure.data)
    starts = {pair: tuple((_axis(figure.layout, name).domain or (0, 1))[0] for name in pair) for pair in pairs}
    lefts, bottoms = (sorted({start[axis] for start in starts.values()}) for axis in (0, 1))
    return {
        pair: (len(bottoms) - 1 - bottoms.index(bottom), lefts.index(left)) for pair, (left, bottom) in starts.items()
    }


class _Plot:
    """_Plot: one pair of axes; names on an axis stand at whole numbers."""

    def __init__(self, axes: Axes, layout: Any, x: str, y: str) -> None:
        self.axes, self.layout, self.stacked = axes, layout, layout.barmode == "stack"
        self.bars: list[Any] = []
        """Traces of bars that stand beside each other at one place."""
        self.x, self.y = _Axis(_axis(layout, x)), _Axis(_axis(layout, y))
        self.names = (x, y)
        self.ends: dict[float, float] = {}
        """Ends of the stacked bars, by their place."""

    def draw(self, traces: Sequence[Any]) -> None:
        """Draw all traces, then the axes, whose names are known only then."""
        kinds: dict[str, Callable[[Any], None]] = {"scatter": self._scatter, "bar": self._bar, "heatmap": self._heatmap}
        self.bars = [trace for trace in traces if trace.type == "bar" and self.layout.barmode == "group"]
        for trace in traces:
            if trace.type in kinds:
                kinds[trace.type](trace)
        boxes = [trace for trace in traces if trace.type == "box"]
        for number, trace in enumerate(boxes):
            self._box(trace, number, len(boxes))
        self._annotate()
        self.x.finish(self.axes, "x")
        self.y.finish(self.axes, "y")

    def _scatter(self, trace: Any) -> None:
        x, y = self.x.positions(trace.x), self.y.positions(trace.y)
        mode: str = trace.mode or "lines"
        look: dict[str, Any] = {"alpha": trace.opacity or 1}
        label = _text(trace.name) if trace.name and trace.showlegend is not False else None
        if "lines" in mode:
            style = "steps-post" if trace.line.shape == "hv" else "default"
            dash = {"dot": ":", "dash": "--"}.get(trace.line.dash or "", "-")
            line = {"color": trace.line.color, "lw": (trace.line.width or 1.5) * 0.8, "drawstyle": style}
            self.axes.plot(x, y, dash, label=label, zorder=_LINES, **line, **look)
        if "markers" in mode:
            marker = trace.marker
            sizes = np.square(np.asarray(marker.size if marker.size is not None else 6, dtype=float) * 0.75)
            color = marker.color if marker.color is not None else trace.line.color
            for symbol in sorted({*np.atleast_1d(marker.symbol or "circle")}):
                own = np.broadcast_to(np.asarray(marker.symbol or "circle") == symbol, x.shape)
                filled: dict[str, Any] = (
                    {"facecolors": "none", "edgecolors": color} if symbol.endswith("-open") else {"c": color}
                )
                self.axes.scatter(
                    x[own], y[own], np.broadcast_to(sizes, x.shape)[own], marker=_MARKERS[symbol], **filled,
                    label=label if "lines" not in mode else None, linewidths=1, zorder=_POINTS, **look,
                )  # fmt: skip
        self._errors(trace, x, y, trace.marker.color)

    def _errors(self, trace: Any, x: Any, y: Any, color: Any) -> None:
        """Draw the reach of each value; one without an own lower reach is symmetric."""
        above = trace.error_x.array
        if above is not None:
            below = above if trace.error_x.arrayminus is None else trace.error_x.arrayminus
            self.axes.errorbar(x, y, xerr=[below, above], fmt="none", ecolor=color, capsize=3, zorder=_POINTS)

    def _bar(self, trace: Any) -> None:
        lengths, places = np.asarray(trace.x, dtype=float), self.y.positions(trace.y)
        starts = np.array([self.ends.get(place, 0.0) if self.stacked else 0.0 for place in places])
        label = _text(trace.name) if trace.name and trace.showlegend is not False else None
        height = 0.7 / max(1, len(self.bars))
        if self.bars:  # the first one below, as Plotly has it
            places = places + (self.bars.index(trace) - (len(self.bars) - 1) / 2) * height
        color = trace.marker.color
        self.axes.barh(places, lengths, left=starts, color=color, label=label, height=height, zorder=_LINES)
        self._errors(trace, starts + lengths, places, "black")
        self.ends |= dict(zip(places.tolist(), (starts + lengths).tolist(), strict=True))
        if trace.text is None or trace.textposition == "none":
            return
        for place, end, text in zip(places, starts + lengths, trace.text, strict=True):
            self.axes.annotate(_text(text), (end, place), (4, 0), textcoords="offset points", va="center", fontsize=8)

    def _heatmap(self, trace: Any) -> None:
        x, y = self.x.positions(trace.x), self.y.positions(trace.y)
        shares = np.asarray(trace.z, dtype=float)
        extent = (x[0] - 0.5, x[-1] + 0.5, y[0] - 0.5, y[-1] + 0.5)
        image = self.axes.imshow(
            shares, cmap="Blues", vmin=trace.zmin, vmax=trace.zmax, aspect="auto", origin="lower", extent=extent
        )
        self.axes.grid(visible=False)
        assert self.axes.figure is not None
        self.axes.figure.colorbar(image, ax=self.axes, label=_text(trace.colorbar.title.text or ""))
        if trace.texttemplate:
            for row, texts in zip(y, trace.text, strict=True):
                for column, text in zip(x, texts, strict=True):
                    color = "white" if shares[int(row), int(column)] > 0.6 else "black"
                    self.axes.text(column, row, _text(text), ha="center", va="center", color=color, fontsize=8)

    def _box(self, trace: Any, number: int, count: int) -> None:
        x, y = self.x.positions(trace.x), np.asarray(trace.y, dtype=float)
        width, generator = 0.8 / count, np.random.default_rng(0)
        color = trace.marker.color
        for place in np.unique(x):
            middle, values = place + (number - (count - 1) / 2) * width, y[x == place]
            line = {"color": color}
            self.axes.boxplot(
                values, positions=[middle], widths=width * 0.7, showfliers=False, manage_ticks=False,
                boxprops=line, medianprops=line, whiskerprops=line, capprops=line,
            )  # fmt: skip
            jitter = generator.uniform(-width / 5, width / 5, len(values))
            self.axes.scatter(middle + jitter, values, 14, c=color, alpha=0.6, zorder=_POINTS)
        self.axes.plot([], [], "s", color=color, label=_text(trace.name))

    def _annotate(self) -> None:
        for note in self.layout.annotations:
            if note.xref == "paper":
                if note.x is not None and self._holds(note):
                    self.axes.set_title(_text(note.text), fontsize=9)
            elif (note.xref or "x", note.yref or "y") == self.names:
                box = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8}
                place = (float(self.x.positions([note.x])[0]), float(self.y.positions([note.y])[0]))
                self.axes.annotate(
                    _text(note.text), place, (note.xshift or 0, note.yshift or 0), textcoords="offset points",
                    fontsize=8, va="center", ha=note.xanchor or "center", bbox=box if note.bgcolor else None,
                    zorder=_WORDS,
                )  # fmt: skip

    def _holds(self, title: Any) -> bool:
        """Return whether a title over several plots is this one's: it stands over the middle of its top."""
        (left, right), (_, top) = (_axis(self.layout, name).domain or (0, 1) for name in self.names)
        return bool(abs((left + right) / 2 - title.x) < 1e-6 and abs(top - title.y) < 1e-6)


class _Axis:
    """_Axis: positions of the values on one axis; names get 0, 1, 2, ... in the order in which they come."""

    def __init__(self, axis: Any) -> None:
        self.axis = axis
        self.names: dict[str, int] = {}
        for name in axis.categoryarray if axis.categoryarray is not None else ():
            self.names.setdefault(str(name), len(self.names))

    def positions(self, values: Any) -> Any:
        """Return the positions, NaN for None."""
        if not self.names and not any(isinstance(value, str) for value in values) and self.axis.type != "category":
            return np.array([np.nan if value is None else value for value in values], dtype=float)
        places = [None if value is None else self.names.setdefault(str(value), len(self.names)) for value in values]
        return np.array([np.nan if place is None else place for place in places], dtype=float)

    def finish(self, axes: Axes, which: str) -> None:
        """Set scale, range, ticks and title."""
        of: Callable[[str], Any] = lambda name: getattr(axes, name.format(which))  # noqa: E731
        own = axes.xaxis if which == "x" else axes.yaxis
        if self.axis.type == "log":
            of("set_{}scale")("log")
            own.set_major_formatter(_decades)
            own.set_minor_formatter(_decades if np.ptp(np.log10(own.get_data_interval())) < 1 else NullFormatter())
            own.set_tick_params(which="both", labelrotation=30)
        if self.names:
            step = max(1, len(self.names) // (self.axis.nticks or 40))
            shown = [(_text(name), place) for name, place in list(self.names.items())[::step]]
            own.set_ticks([place for _, place in shown], [name for name, _ in shown])
            if which == "x" and sum(len(name) + 2 for name, _ in shown) > _LETTERS * _width(axes):
                own.set_tick_params(labelrotation=30)
                for label in own.get_ticklabels():
                    label.set(ha="right", rotation_mode="anchor")
        if self.axis.range is not None and not self.names:
            of("set_{}lim")(*(np.power(10.0, self.axis.range) if self.axis.type == "log" else self.axis.range))
        if self.axis.tickformat == ".0%":
            own.set_major_formatter(PercentFormatter(1, decimals=0))
        if self.axis.autorange == "reversed":
            of("invert_{}axis")()
        if self.axis.visible is False:
            own.set_ticks([])
            axes.spines["left" if which == "y" else "bottom"].set_visible(False)
            own.grid(visible=False)
        if self.axis.dtick is not None and self.axis.type != "log" and not self.names:
            own.set_major_locator(MultipleLocator(self.axis.dtick))
        of("set_{}label")(_text(self.axis.title.text or ""))


def _width(axes: Axes) -> float:
    """Return the share of the picture's width that a plot has, about."""
    place = axes.get_subplotspec()
    return 1.0 if place is None else 1 / place.get_gridspec().ncols


def _decades(value: float, _: float) -> str:
    return f"{value:.0e}" if value < 1 else _thousands(value)


def _axis(layout: Any, name: str) -> Any:
    """Return the settings of the axis `x`, `x2`, ..., `y`, ..."""
    return layout[f"{name[0]}axis{name[1:]}"]


def _text(text: object) -> str:
    """Return the words of a text for Plotly: the opposite of `plain`."""
    return html.unescape(re.sub("<br>", "\n", str(text)))

"""Panels on the settings: which of them mattered, and which values were good."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.leaderboard import Entry
from analysis.report.importance import MINIMUM_TRIALS, importances
from analysis.report.panel import COLORS, Panel, RunData, color_of, figure, hover, plain, shortened

_ABSENT = "does not apply"
# Side by side in small print, before the labels of neighboring axes meet.
_LETTERS = 130
# Height of what does not apply, below the axes.
_BOTTOM = -0.15
# Lines of one color are one trace: thousands of trials are drawn as quickly as a few.
_SHADES = 8
_COLUMNS = 3


def importance(data: RunData) -> Panel | None:
    """Importance of each setting, within each branch of the space."""
    if data.space is None:
        return None
    found = importances(data.space, data.board.objective, [entry.trial for entry in data.board.entries])
    if not found:
        return None
    bars: dict[str, tuple[float, str]] = {}
    for each in reversed(found):
        branch = ", ".join(f"{name}: {value}" for name, value in each.branch.items()) or "all trials"
        where = f"{branch} ({each.trials})"
        # Where nothing can be said, once is enough.
        name = where if each.share is None else f"{each.parameter} | {where}"
        bars[plain(name)] = (each.share or 0.0) if each.matters else 0.0, str(each)
    trace = go.Bar(
        x=[share for share, _ in bars.values()],
        y=list(bars),
        text=[text for _, text in bars.values()],
        textposition="outside",  # a bar without length has no inside
        cliponaxis=False,
        orientation="h",
        marker={"color": COLORS[0]},
    )
    note = (
        "The share of the trials' order that a setting explains by itself, in all trials and in each branch, whose "
        f"trials stand in brackets. Trials count with what they had reached when they ended, and the search has chosen "
        f"its values. Below {MINIMUM_TRIALS} trials nothing is said."
    )
    look = {"height": 120 + 26 * len(bars), "xaxis": {"range": [0, 1]}, "yaxis": {"automargin": True}}
    made = figure("share of the order", "", [trace], **look)
    return Panel("importance", "What mattered", note, made)


def slices(data: RunData) -> Panel | None:
    """Objective against each setting."""
    names = data.parameters
    if not names:
        return None
    rows = -(-len(names) // _COLUMNS)
    made = make_subplots(rows=rows, cols=_COLUMNS, shared_yaxes="all", subplot_titles=[plain(name) for name in names])
    for place, name in enumerate(names):
        own = [entry for entry in data.judged if name in entry.trial.parameters]
        values = [entry.trial.parameters[name] for entry in own]
        trace = go.Scatter(
            x=values if _are_numbers(values) else [plain(value) for value in values],
            y=[entry.objective for entry in own],
            mode="markers",
            marker={"color": COLORS[0], "size": 6, "opacity": 0.7},
            text=[hover(entry) for entry in own],
            showlegend=False,
        )
        made.add_trace(trace, row=place // _COLUMNS + 1, col=place % _COLUMNS + 1)
        if _are_numbers(values) and min(values) > 0 and max(values) / min(values) >= 20:
            made.update_xaxes(
                type="log", dtick=1, tickformat=".0e", row=place // _COLUMNS + 1, col=place % _COLUMNS + 1
            )
        elif all(isinstance(value, int) for value in values) and max(values) - min(values) <= 10:
            made.update_xaxes(dtick=1, row=place // _COLUMNS + 1, col=place % _COLUMNS + 1)
    made.update_layout(template="plotly_white", height=260 * rows + 60, margin={"l": 60, "r": 20, "t": 40, "b": 40})
    made.update_yaxes(title_text=plain(data.metric), col=1)
    high = "high" if data.is_rising else "low"
    note = f"Each point is a trial; the best values lie where the points are {high} and close together."
    return Panel("slices", "Each setting by itself", note, made)


def strategies(data: RunData) -> Panel | None:
    """Objective by strategy and architecture."""
    return _distribution(
        data,
        "strategy",
        "architecture",
        "strategies",
        "Strategy and architecture",
        "a {high} box is a safe choice, a {high} point shows how far it may come",
    )


def balance(data: RunData) -> Panel | None:
    """Objective by what is done about rare classes."""
    return _distribution(
        data,
        "balance",
        "strategy",
        "balance",
        "Sampler against weighted loss",
        "where the boxes are equally high, balance has made no difference here",
    )


def parallel(data: RunData) -> Panel | None:
    """All settings of all trials, as one line each."""
    names = [*data.parameters, data.metric]
    if len(names) < 3:
        return None
    places = {name: _places(data.judged, name, data.metric) for name in names}
    groups = np.array_split(np.arange(len(data.judged)), min(_SHADES, len(data.judged)))
    traces = []
    for shade, group in reversed(list(enumerate(groups))):
        x: list[Any] = []
        y: list[Any] = []
        for index in group:
            x += [*map(plain, names), None]
            y += [*(places[name][0][index] for name in names), None]
        weight = 1 - shade / max(len(groups), 2)
        line = {"color": COLORS[5] if shade == 0 else COLORS[0], "width": 2 if shade == 0 else 1}
        look = {"name": f"best {_trials(len(group))}" if shade == 0 else "others, the better the darker"}
        shown = {"mode": "lines", "line": line, "opacity": max(0.15, weight), "showlegend": shade < 2}
        traces.append(go.Scatter(x=x, y=y, **look, **shown))
    made = figure("", "", traces, yaxis={"visible": False}, xaxis={"type": "category"})
    lacking = [name for name in names if (_BOTTOM, _ABSENT) in places[name][1]]
    for name in names:
        for place, label in places[name][1]:
            if label == _ABSENT and name != lacking[0]:
                continue  # once says it for all axes, whose labels would cover one another
            short = label if label == _ABSENT else shortened(label, max(6, _LETTERS // len(names)))
            made.add_annotation(
                x=plain(name), y=place, text=plain(short), hovertext=plain(label), showarrow=False, xshift=4,
                xanchor="left", bgcolor="rgba(255, 255, 255, 0.8)", font={"size": 11},
            )  # fmt: skip
    note = f"Follow the best lines: where they meet is a good value. A setting that {_ABSENT} is at the bottom."
    return Panel("parallel", "Settings of all trials", note, made)


def _trials(count: int) -> str:
    return "trial" if count == 1 else f"{count} trials"


def _places(entries: Sequence[Entry], name: str, metric: str) -> tuple[list[float], list[tuple[float, str]]]:
    """Return the height of each trial on an axis, from 0 to 1, and the labels of the axis."""
    values = [entry.objective if name == metric else entry.trial.parameters.get(name) for entry in entries]
    known = [value for value in values if value is not None]
    labels = [(_BOTTOM, _ABSENT)] if len(known) < len(values) else []
    if _are_numbers(known):
        is_log = name != metric and min(known) > 0 and max(known) / min(known) >= 20
        scaled = [float(np.log10(value)) if is_log else float(value) for value in known]
        low, width = min(scaled), (max(scaled) - min(scaled)) or 1.0
        found = iter([(value - low) / width for value in scaled])
        ends = [(0.0, f"{min(known):.3g}"), (1.0, f"{max(known):.3g}")]
        labels += ends[: len({*known})]
    else:
        kinds = sorted({str(value) for value in known})
        height = {kind: place / max(len(kinds) - 1, 1) for place, kind in enumerate(kinds)}
        found = iter([height[str(value)] for value in known])
        labels += [(height[kind], kind) for kind in kinds]
    return [_BOTTOM if value is None else next(found) for value in values], labels


def _distribution(data: RunData, by: str, color: str, name: str, title: str, see: str) -> Panel | None:
    pairs = [(getattr(entry.trial.config, by), getattr(entry.trial.config, color), entry) for entry in data.judged]
    if len({first for first, _, _ in pairs}) < 2:
        return None
    colors = sorted({second for _, second, _ in pairs})
    traces = [
        go.Box(
            x=[plain(first) for first, second, _ in pairs if second == value],
            y=[entry.objective for _, second, entry in pairs if second == value],
            name=plain(value),
            boxpoints="all",
            jitter=0.4,
            pointpos=0,
            marker={"color": color_of(value, colors), "size": 5},
            text=[hover(entry) for _, second, entry in pairs if second == value],
        )
        for value in colors
    ]
    note = f"Each point is a trial, those that were stopped early among them: {see}."
    note = note.format(high="high" if data.is_rising else "low")
    return Panel(name, title, note, figure(by, data.metric, traces, boxmode="group"))


def _are_numbers(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

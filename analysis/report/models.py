"""Panels on the models: each with each strategy as the fine-tuning guides compare them, and what quality costs."""

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.leaderboard import Entry
from analysis.report.panel import Panel, RunData, Table, color_of, hover, plain

_COLUMNS = (
    *(("model", ""), ("strategy", ""), ("trials", ","), ("epochs", ",")),
    *(("best validation", ".4f"), ("test", ".4f"), ("loss", ".4f")),
    *(("parameters", ","), ("trained", ","), ("seconds", ",.1f")),
)


def comparison(data: RunData) -> Panel | None:
    """Best trial of each model with each strategy: the table of the fine-tuning guides."""
    best: dict[tuple[str, str], list[Entry]] = {}
    for entry in sorted(data.judged, key=lambda entry: -data.board.objective.score(entry.objective or 0.0)):
        best.setdefault((entry.trial.config.architecture, entry.trial.config.strategy), []).append(entry)
    if not best:
        return None
    tested = _test(data)
    rows = [
        (
            *(*names, len(entries), len(first.trial.reports)),
            *(first.objective, tested.get(first.trial.trial_id), _loss(first)),
            *(first.total_parameters, first.trainable_parameters, first.trial.seconds),
        )
        for names, entries in best.items()
        for first in entries[:1]
    ]
    metric = data.metric.removeprefix("val/")
    note = f"The best trial of each model and strategy by {metric}, stopped early or not; the rest is its own. "
    note += "Only the winner has a test value: it alone is trained again and measured on the test split."
    return Panel("models", "Model by model", note, Table(_COLUMNS, tuple(rows)))


def tradeoff(data: RunData) -> Panel | None:
    """Objective against the parameters and the FLOPs of the model."""
    sized = [entry for entry in data.judged if entry.total_parameters is not None]
    if not sized:
        return None
    names = sorted({entry.trial.config.architecture for entry in sized})
    costs: list[tuple[str, list[tuple[Entry, Any]]]] = [
        ("parameters of the model", [(entry, entry.total_parameters) for entry in sized]),
        ("FLOPs on one image", [(entry, entry.trial.flops) for entry in sized if entry.trial.flops is not None]),
    ]
    costs = [(title, found) for title, found in costs if found]
    made = make_subplots(rows=1, cols=len(costs), shared_yaxes=True)
    for column, (title, found) in enumerate(costs, start=1):
        for name in names:
            own = [(entry, cost) for entry, cost in found if entry.trial.config.architecture == name]
            trace = go.Scatter(
                x=[cost for _, cost in own],
                y=[entry.objective for entry, _ in own],
                mode="markers",
                name=plain(name),
                legendgroup=name,
                showlegend=column == 1,
                marker={"color": color_of(name, names), "size": 8},
                text=[hover(entry) for entry, _ in own],
            )
            made.add_trace(trace, row=1, col=column)
        made.update_xaxes(title_text=title, type="log", row=1, col=column)
    made.update_layout(template="plotly_white", height=420, margin={"l": 60, "r": 20, "t": 30, "b": 50})
    made.update_layout(legend={"orientation": "h", "y": -0.2}, hovermode="closest")
    made.update_yaxes(title_text=plain(data.metric), col=1)
    upper = "upper" if data.is_rising else "lower"
    note = f"A point to the {upper} left is better and costs less. A million parameters are a file of 4 MB."
    return Panel("tradeoff", "Quality against cost of use", note, made)


def _loss(entry: Entry) -> float | None:
    report = next((report for report in entry.trial.reports if report.epoch == entry.epoch), None)
    return None if report is None else report.metrics.get("val/loss")


def _test(data: RunData) -> dict[str, float]:
    """Return the objective on the test split of the trial that was trained again, by its id."""
    if data.retrained is None or not data.retrained["test"]:
        return {}
    value = data.retrained["test"]["metrics"].get(data.metric.removeprefix("val/"))
    return {} if value is None else {data.retrained["trial_id"]: float(value)}

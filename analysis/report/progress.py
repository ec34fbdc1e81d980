"""Panels on the course of a search: curves, the best value over time, what the trials cost."""

from collections import defaultdict

import plotly.graph_objects as go

from analysis.ledger import by_id
from analysis.report.panel import COLORS, STATUS_COLORS, Panel, RunData, color_of, figure, hover, plain
from trainables.model.freeze_plan import freeze_plan
from trainables.status import Status

# More curves are not told apart, and make a large figure.
_CURVES = 60


def curves(data: RunData) -> Panel | None:
    """Objective by epoch of each trial; a mark where the trial thaws."""
    shown = [entry for entry in data.judged if len(entry.trial.reports) > 1][:_CURVES]
    if not shown:
        return None
    strategies = sorted({entry.trial.config.strategy for entry in shown})
    seen: set[str] = set()
    traces = []
    for entry in reversed(shown):
        trial, strategy = entry.trial, entry.trial.config.strategy
        reports = [report for report in trial.reports if data.metric in report.metrics]
        thaws = {epoch for epoch in freeze_plan(trial.config).boundaries if epoch}
        traces.append(
            go.Scatter(
                x=[report.epoch for report in reports],
                y=[report.metrics[data.metric] for report in reports],
                mode="lines+markers",
                name=plain(strategy),
                legendgroup=strategy,
                showlegend=strategy not in seen,
                line={"color": color_of(strategy, strategies), "width": 3 if entry.rank == 1 else 1},
                marker={"size": [10 if report.epoch - 1 in thaws else 3 for report in reports], "symbol": "diamond"},
                opacity=1 if entry.rank == 1 else 0.55,
                text=hover(entry),
            )
        )
        seen.add(strategy)
    left_out = len(data.judged) - len(shown)
    note = "Where a line bends after a diamond, thawing has paid; the thick line is the winner."
    if left_out:
        note += f" The best {len(shown)} trials with more than one epoch; {left_out} are left out."
    return Panel("curves", "Learning curves", note, figure("epoch", data.metric, traces))


def search(data: RunData) -> Panel | None:
    """Objective of each trial in the order of the search, and the best up to it."""
    ordered = sorted(data.judged, key=lambda entry: by_id(entry.trial.trial_id))
    if not ordered:
        return None
    statuses = [status for status in Status if any(entry.trial.status is status for entry in ordered)]
    traces = [
        go.Scatter(
            x=[entry.trial.trial_id for entry in ordered if entry.trial.status is status],
            y=[entry.objective for entry in ordered if entry.trial.status is status],
            mode="markers",
            name=status.value,
            marker={"color": STATUS_COLORS[status], "size": 8},
            text=[hover(entry) for entry in ordered if entry.trial.status is status],
        )
        for status in statuses
    ]
    best, steps = None, []
    for entry in ordered:
        if entry.trial.status is Status.COMPLETED and entry.objective is not None:
            is_better = best is None or data.board.objective.better(entry.objective, best)
            best = entry.objective if is_better else best
        steps.append(best)
    line = {"shape": "hv", "color": COLORS[6]}
    names = [entry.trial.trial_id for entry in ordered]
    traces.append(go.Scatter(x=names, y=steps, mode="lines", name="best so far", line=line))
    layout = {"xaxis": {"type": "category", "categoryarray": names, "categoryorder": "array", "nticks": 12}}
    note = "If the line still rises at its end, more trials may find more."
    return Panel("search", "The search over time", note, figure("trial", data.metric, traces, **layout))


def cost(data: RunData) -> Panel | None:
    """Seconds of training by strategy and status."""
    seconds: dict[tuple[str, Status], float] = defaultdict(float)
    for entry in data.board.entries:
        seconds[entry.trial.config.strategy, entry.trial.status] += entry.trial.seconds
    if not any(seconds.values()):
        return None
    strategies = sorted({strategy for strategy, _ in seconds})
    traces = [
        go.Bar(
            x=[seconds.get((strategy, status), 0.0) for strategy in strategies],
            y=[plain(strategy) for strategy in strategies],
            name=status.value,
            orientation="h",
            marker={"color": STATUS_COLORS[status]},
        )
        for status in Status
        if any(found is status and total for (_, found), total in seconds.items())
    ]
    trials = [entry.trial for entry in data.board.entries if entry.trial.status is Status.PRUNED]
    saved = sum(trial.config.epochs - len(trial.reports) for trial in trials)
    note = f"Of all seconds of training; stopping {len(trials)} trials early has saved {saved} epochs."
    return Panel("cost", "What it cost", note, figure("seconds", "", traces, barmode="stack"))

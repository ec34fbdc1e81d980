"""Several runs side by side: the best trial of each, and how much training each of them took to find it."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.leaderboard import Leaderboard, short_names
from analysis.ledger import by_id
from analysis.report.panel import Panel, RunData, Table, color_of, figure, plain

_COLUMNS = (
    *(("run", ""), ("trials", ","), ("completed", ","), ("objective", ""), ("best", ".4f"), ("trial", "")),
    *(("architecture", ""), ("strategy", ""), ("seconds of training", ",.0f")),
)


@dataclass(frozen=True)
class RunsComparison:
    """RunsComparison: several runs on one page."""

    names: tuple[str, ...]
    """Names of the runs, which differ."""

    lead: str
    """Sentence on the best of all trials."""

    panels: tuple[Panel, ...]
    """Table of the runs, and their course."""

    problems: tuple[str, ...]
    """Reasons why the values of two runs do not compare."""


def compare_runs(runs: Sequence[RunData]) -> RunsComparison:
    """Compare runs by the objective of the first. Raises InvalidInput where one is given twice."""
    board = Leaderboard.joined([data.board for data in runs])
    names = tuple(short_names([data.board.source for data in runs]))
    own = {problem for data in runs for problem in data.board.problems}
    problems = tuple(problem for problem in board.problems if problem not in own)
    return RunsComparison(names, _lead(board), (_table(names, runs), _course(names, runs)), problems)


def _lead(board: Leaderboard) -> str:
    ranked = [entry for entry in board.entries if entry.rank is not None]
    if not ranked:
        return "No trial has completed yet."
    best = ranked[0]
    return f"The best trial is {best.trial.trial_id} of {best.run}: {board.objective.metric} {best.objective:.3f}."


def _table(names: Sequence[str], runs: Sequence[RunData]) -> Panel:
    rows = []
    for name, data in zip(names, runs, strict=True):
        entries = data.board.entries
        ranked = [entry for entry in entries if entry.rank is not None]
        best = ranked[0] if ranked else None
        config = None if best is None else best.trial.config
        rows.append(
            (
                *(name, len(entries), len(ranked), data.metric, None if best is None else best.objective),
                *(None if best is None else best.trial.trial_id, None if config is None else config.architecture),
                *(None if config is None else config.strategy, sum(entry.trial.seconds for entry in entries)),
            )
        )
    note = "The best completed trial of each run, by the run's own objective."
    return Panel("runs", "Run by run", note, Table(_COLUMNS, tuple(rows)))


def _course(names: Sequence[str], runs: Sequence[RunData]) -> Panel:
    traces = []
    for name, data in zip(names, runs, strict=True):
        if data.board.objective != runs[0].board.objective:
            continue  # its values belong on another axis
        seconds, x, y, best = 0.0, [], [], None
        for entry in sorted(data.board.entries, key=lambda entry: by_id(entry.trial.trial_id)):
            seconds += entry.trial.seconds
            if entry.rank is not None and entry.objective is not None:
                if best is None or data.board.objective.better(entry.objective, best):
                    best = entry.objective
                x.append(seconds)
                y.append(best)
        line = {"shape": "hv", "color": color_of(name, names), "width": 2}
        traces.append(go.Scatter(x=x, y=y, mode="lines+markers", name=plain(name), line=line, marker={"size": 4}))
    higher = "higher" if runs[0].is_rising else "lower"
    note = f"The line that is {higher} further left has found more with less training."
    made = figure("seconds of training of the trials so far", runs[0].metric, traces)
    return Panel("course", "What each search had found", note, made)

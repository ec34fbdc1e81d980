"""Panels on the course of a search: curves, the best value over time, what the trials cost."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import plotly.graph_objects as go

from analysis.ledger import by_id
from analysis.report.panel import COLORS, STATUS_COLORS, Panel, RunData, color_of, figure, hover, plain
from trainables.model.freeze_plan import freeze_plan
from trainables.result import Rung, TrialResult
from trainables.status import Status

# More curves are not told apart, and make a large figure.
_CURVES = 60


def curves(data: RunData) -> Panel | None:
    """Objective by epoch of each trial, with marks where it thaws and where it passes a rung."""
    shown = [entry for entry in data.judged if len(entry.trial.reports) > 1][:_CURVES]
    if not shown:
        return None
    strategies = sorted({entry.trial.config.strategy for entry in shown})
    seen: set[str] = set()
    seen_marks: set[_Mark] = set()
    traces = []
    for entry in reversed(shown):
        trial, strategy = entry.trial, entry.trial.config.strategy
        reports = [report for report in trial.reports if data.metric in report.metrics]
        marks = [_mark(trial, report.epoch) for report in reports]
        seen_marks |= {*marks}
        traces.append(
            go.Scatter(
                x=[report.epoch for report in reports],
                y=[report.metrics[data.metric] for report in reports],
                mode="lines+markers",
                name=plain(strategy),
                legendgroup=strategy,
                showlegend=strategy not in seen,
                line={"color": color_of(strategy, strategies), "width": 3 if entry.rank == 1 else 1},
                marker={"size": [mark.size for mark in marks], "symbol": [mark.symbol for mark in marks]},
                opacity=1 if entry.rank == 1 else 0.55,
                text=hover(entry),
            )
        )
        seen.add(strategy)
    for mark in _MARKS:
        if mark in seen_marks and mark.name:
            look = {"color": COLORS[6], "size": mark.size, "symbol": mark.symbol}
            traces.append(go.Scatter(x=[None], y=[None], mode="markers", name=mark.name, marker=look))
    left_out = len(data.judged) - len(shown)
    rises = "rises" if data.is_rising else "falls"
    note = f"Where a line {rises} into a diamond or from it, thawing has paid; the thick line is the winner."
    if left_out:
        note += f" {len(shown)} trials are shown, the best with more than one epoch; left out: {left_out}."
    return Panel("curves", "Learning curves", note, figure("epoch", data.metric, traces))


@dataclass(frozen=True)
class _Mark:
    """_Mark: what a point of a curve looks like."""

    name: str
    symbol: str
    size: int


_THAWS = _Mark("first epoch after a thaw", "diamond", 10)
_JUDGED = _Mark("judged at a rung", "square", 6)
_EXEMPT = _Mark("passes a rung unjudged", "circle-open", 8)
_PLAIN = _Mark("", "circle", 3)
_MARKS = (_THAWS, _JUDGED, _EXEMPT, _PLAIN)


def _mark(trial: TrialResult, epoch: int) -> _Mark:
    """Return the mark of an epoch, counted from 1."""
    if epoch > 1 and epoch - 1 in freeze_plan(trial.config).boundaries:
        return _THAWS
    rung = next((rung for rung in trial.rungs if rung.epoch == epoch), None)
    return _PLAIN if rung is None else _JUDGED if rung.judged else _EXEMPT


def search(data: RunData) -> Panel | None:
    """Objective of each trial in the order of the search, and the best up to it."""
    ordered = sorted(data.judged, key=lambda entry: by_id(entry.trial.trial_id))
    if not ordered:
        return None
    statuses = [status for status in Status if any(entry.trial.status is status for entry in ordered)]
    traces = [
        go.Scatter(
            x=[entry.trial.trial_id for entry in own],
            y=[entry.objective for entry in own],
            mode="markers",
            name=status.value,
            marker={
                "color": STATUS_COLORS[status],
                "size": 8,
                "symbol": ["circle-open" if _is_exempt(entry.trial) else "circle" for entry in own],
            },
            text=[f"{hover(entry)}<br>{_passed(entry.trial)}" for entry in own],
        )
        for status in statuses
        for own in [[entry for entry in ordered if entry.trial.status is status]]
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
    rises = "rises" if data.is_rising else "falls"
    rungs = _rungs([entry.trial for entry in ordered])
    note = f"If the line still {rises} at its end, more trials may find more. {rungs}"
    return Panel("search", "The search over time", note, figure("trial", data.metric, traces, **layout))


def _passes(trial: TrialResult) -> list[Rung]:
    """Return the rungs that a trial has passed so far."""
    return [rung for rung in trial.rungs if rung.epoch <= len(trial.reports)]


def _is_exempt(trial: TrialResult) -> bool:
    return any(not rung.judged for rung in _passes(trial))


def _passed(trial: TrialResult) -> str:
    texts = [f"{rung.rung}{'' if rung.judged else ' (unjudged)'}" for rung in _passes(trial)]
    return f"rungs: {', '.join(texts)}" if texts else "no rung so far"


def _rungs(trials: Sequence[TrialResult]) -> str:
    """Return how many trials each rung has judged, stopped, and let pass because they had hardly thawed."""
    texts = []
    for number in sorted({rung.rung for trial in trials for rung in _passes(trial)}):
        passing = [(trial, rung) for trial in trials for rung in _passes(trial) if rung.rung == number]
        judged = sum(rung.judged for _, rung in passing)
        stopped = sum(trial.status is Status.PRUNED and rung.epoch == len(trial.reports) for trial, rung in passing)
        exempt = len(passing) - judged
        texts.append(f"rung {number}: {judged} judged, {stopped} stopped" + (f", {exempt} exempt" if exempt else ""))
    if not texts:
        return ""
    text = f"{'; '.join(texts)}.".capitalize()
    return text + (" An open circle is a trial that was exempt while it was frozen." if "exempt" in text else "")


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
    saved = _saved([entry.trial for entry in data.board.entries])
    note = f"The seconds of all trials, which may have run side by side. {saved}"
    return Panel("cost", "What it cost", note, figure("seconds", "", traces, barmode="stack"))


def _saved(trials: Sequence[TrialResult]) -> str:
    """Return what stopping and the cache of features have saved, in numbers that the records hold."""
    stopped = [trial for trial in trials if trial.status is Status.PRUNED and trial.reports]
    epochs = sum(trial.config.epochs - len(trial.reports) for trial in stopped)
    seconds = sum((trial.config.epochs / len(trial.reports) - 1) * trial.seconds for trial in stopped)
    texts = []
    if stopped:
        texts.append(f"Stopping {len(stopped)} trials early has saved {epochs} epochs, about {seconds:,.0f} s.")
    taken: dict[tuple[str, bool | None], list[float]] = defaultdict(list)
    for trial in trials:
        for report in trial.reports:
            taken[trial.config.architecture, report.cached].append(report.seconds)
    cached = {name: own for (name, is_cached), own in taken.items() if is_cached}
    if cached:
        count = sum(map(len, cached.values()))
        text = f"{count} of {sum(map(len, taken.values()))} epochs took their features from the cache"
        name = max(cached, key=lambda name: len(cached[name]))
        others = taken.get((name, False))
        of_one = f"; of {name} {median(cached[name]):.2g} s each against {median(others):.2g} s" if others else ""
        texts.append(f"{text}{of_one}.")
    return " ".join(texts)

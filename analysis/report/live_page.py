"""Pages of a dashboard: the part that follows a run or a list of runs, and the frame around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import plotly.graph_objects as go
from markupsafe import Markup

from analysis.comparisons.comparison import TrialComparison, comparison_text
from analysis.report.page import render_run, templates
from analysis.report.panel import COLORS, Panel, RunData, figure, plain, printable
from analysis.report.run_summary import RunSummary
from search_spaces.space import value_text


class PageLink(NamedTuple):
    """PageLink: address and text of a link."""

    link: str
    text: str


class Age(NamedTuple):
    """Age: a time span, as a number that sorts and as a text."""

    minutes: int
    text: str


@dataclass(frozen=True)
class ListedRun:
    """ListedRun: one row of the list of runs."""

    link: str
    """Address of its page."""

    name: str
    """Name of its folder."""

    summary: RunSummary | None
    """Facts that the list shows; None where the run cannot be read."""

    problem: str = ""
    """Reason why it cannot be read."""

    @property
    def age(self) -> Age:
        """Time since the run was launched; of a run without facts, none."""
        return Age(0, "") if self.summary is None else age_of(datetime.now(UTC) - self.summary.created)


def age_of(span: timedelta) -> Age:
    """Return a time span in its largest unit: minutes, hours or days."""
    minutes = max(int(span.total_seconds() // 60), 0)
    for size, unit in ((60 * 24, "d"), (60, "h")):
        if minutes >= 2 * size:
            return Age(minutes, f"{minutes // size} {unit}")
    return Age(minutes, f"{minutes} min")


def run_part(data: RunData, shown: Sequence[Panel], driver: str | None, problem: str = "") -> str:
    """Return the part of a page that follows a run: its state, then what the report shows with these panels."""
    article = Markup(render_run(data, shown))
    return _rendered("run", summary=RunSummary.of(data), driver=driver, problem=problem, article=article)


def broken_part(problem: str) -> str:
    """Return the part of a page about a run that cannot be read."""
    return _rendered("run", summary=None, driver=None, problem=problem, article="")


def list_part(root: str, rows: Sequence[ListedRun], problem: str = "") -> str:
    """Return the part of a page that lists the runs of a folder."""
    return _rendered("list", root=root, rows=rows, problem=problem)


def log_part(title: str, log: bytes, command: str, *, is_cut: bool) -> str:
    """Return the part of a page that shows a log, or the end of one; `command` prints all of it."""
    text = printable(log.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n"))
    return _rendered("log", title=title, text=text, command=command, is_cut=is_cut)


def comparison_part(name: str, found: TrialComparison) -> str:
    """Return the part of a page that shows two trials side by side."""
    first, second = (trial.trial_id for trial in found.trials)
    settings = [(setting, *map(_setting, values)) for setting, values in found.settings.items()]
    return _rendered(
        "comparison",
        name=name,
        first=first,
        second=second,
        verdict=comparison_text(found),
        settings=settings,
        curves=_curves(found),
    )


def message_part(title: str, text: str) -> str:
    """Return the part of a page that holds a message alone."""
    return _rendered("message", title=title, text=text)


def live_page(
    title: str,
    part: str,
    *,
    source: str | None = None,
    tag: str = "",
    up: PageLink | None = None,
    can_control: bool = False,
) -> str:
    """Return a whole page around a part, which the page asks for again at `source`; `tag` is its version."""
    values = {"title": title, "part": Markup(part), "source": source, "tag": tag, "up": up}
    return _rendered("base", **values, can_control=can_control)


def live_script() -> str:
    """Return the script of all pages."""
    return templates().get_template("live/live.js").render()


def _rendered(template: str, **values: Any) -> str:
    return templates().get_template(f"live/{template}.html").render(**values)


def _setting(value: Any) -> str:
    return "" if value is None else value_text(value)


def _curves(found: TrialComparison) -> go.Figure:
    metric = found.objective.metric
    traces = [
        go.Scatter(
            x=[epoch for epoch, *_ in found.curves],
            y=[values[place] for _, *values in found.curves],
            mode="lines+markers",
            name=f"trial {plain(trial.trial_id)}",
            line={"color": COLORS[place], "width": 2},
        )
        for place, trial in enumerate(found.trials)
    ]
    return figure("epoch", metric, traces)

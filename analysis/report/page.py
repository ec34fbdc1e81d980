"""Page of a run: one file that shows everything without a network; `templates/` holds its parts."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.leaderboard import Entry, columns, constants
from analysis.report.answer import SearchAnswer, answer
from analysis.report.panel import Panel, RunData, printable
from analysis.report.panels import panels
from analysis.report.picture import image_addresses, png
from analysis.report.several import RunsComparison, compare_runs
from analysis.run_store import write_atomically
from search_spaces.space import parameters_text, value_text
from trainables.storage.place import Place, storage_errors


@dataclass(frozen=True)
class _Column:
    """_Column: one column of the page's table."""

    title: str
    is_number: bool


@dataclass(frozen=True)
class _Cell:
    """_Cell: what is shown, and the number by which the column is sorted."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class _Section:
    """_Section: all that the page shows of one run."""

    name: str
    answer: SearchAnswer
    constants: str
    columns: Sequence[_Column]
    rows: Sequence[Sequence[_Cell]]
    panels: Sequence[Panel]
    problems: Sequence[str]


def write_page(runs: Sequence[RunData], path: Place) -> None:
    """Write the page of one run or several. Raises StorageFailed when it cannot be written."""
    write_atomically(path, render_page(runs))


def write_pictures(data: RunData, folder: Path) -> list[Path]:
    """Write each figure of a run as PNG into a folder; return the files. Raises StorageFailed when that fails."""
    written = []
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for panel in panels(data):
            if isinstance(panel.content, go.Figure):
                written.append(folder / f"{panel.name}.png")
                written[-1].write_bytes(png(panel.content))
    return written


def render_page(runs: Sequence[RunData]) -> str:
    """Return the page as HTML: names are escaped, nothing is fetched."""
    comparison = compare_runs(runs) if len(runs) > 1 else None
    several, *each = _with_pictures([comparison.panels if comparison else (), *map(panels, runs)])
    sections = [_section(data, shown) for data, shown in zip(runs, each, strict=True)]
    above = "" if comparison is None else _rendered_several(replace(comparison, panels=tuple(several)))
    values = {"runs": sections, "comparison": Markup(above), "library": _packed(get_plotlyjs())}
    return templates().get_template("page.html").render(values)


def render_several(runs: Sequence[RunData]) -> str:
    """Return the part of a page that compares several runs; scripts draw all figures.

    Raises InvalidInput where one is given twice.
    """
    return _rendered_several(compare_runs(runs))


def render_run(data: RunData, shown: Sequence[Panel]) -> str:
    """Return the part of a page about one run, with these panels; scripts draw all figures."""
    return templates().get_template("run.html").render(run=_section(data, shown))


@cache
def templates() -> jinja2.Environment:
    """Return the templates of pages: they escape what they are given, and refuse a name that they are not given."""
    loader = jinja2.PackageLoader("analysis.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, finalize=_finalized
    )
    environment.filters |= {"packed": _packed, "base64": _base64, "table_cell": _table_cell}
    return environment


def _with_pictures(groups: Sequence[Sequence[Panel]]) -> list[list[Panel]]:
    """Return the panels with a picture of each figure; all are drawn together, which may take several processes."""
    figures = [panel.content for group in groups for panel in group if isinstance(panel.content, go.Figure)]
    pictures = iter(image_addresses(figures))
    return [
        [
            replace(panel, picture=Markup(next(pictures))) if isinstance(panel.content, go.Figure) else panel
            for panel in group
        ]
        for group in groups
    ]


def _rendered_several(comparison: RunsComparison) -> str:
    return templates().get_template("several.html").render(vars(comparison))


def _section(data: RunData, shown: Sequence[Panel]) -> _Section:
    entries = data.board.entries
    differing, has_failures = columns(entries), any(entry.trial.failure is not None for entry in entries)
    titles = [
        *(_Column("rank", True), _Column("trial", False), _Column("status", False), _Column(data.metric, True)),
        *(_Column("epoch", True), _Column("seconds", True), _Column("trained", True), _Column("parameters", True)),
        *(_Column(name, _is_number(entries, name)) for name in differing),
        *([_Column("failure", False)] if has_failures else []),
    ]
    return _Section(
        data.record.name,
        answer(data),
        parameters_text(constants(entries)),
        titles,
        [_row(entry, differing, with_failure=has_failures) for entry in entries],
        shown,
        data.board.problems,
    )


def _row(entry: Entry, differing: Sequence[str], *, with_failure: bool) -> list[_Cell]:
    trial = entry.trial
    numbers = [
        (entry.rank, ""),
        (entry.objective, ".4f"),
        (entry.epoch, ""),
        (trial.seconds, ".1f"),
        (entry.trainable_parameters, ","),
        (entry.total_parameters, ","),
    ]
    rank, objective, *others = [
        _Cell("" if value is None else format(value, how), None if value is None else float(value))
        for value, how in numbers
    ]
    own = [_setting(trial.parameters.get(name)) for name in differing]
    failure = [_Cell("" if trial.failure is None else trial.failure.message)] if with_failure else []
    return [rank, _Cell(trial.trial_id), _Cell(trial.status.value), objective, *others, *own, *failure]


def _setting(value: Any) -> _Cell:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _Cell("" if value is None else value_text(value), float(value) if is_number else None)


def _is_number(entries: Sequence[Entry], name: str) -> bool:
    values = [entry.trial.parameters[name] for entry in entries if name in entry.trial.parameters]
    return all(_setting(value).number is not None for value in values)


def _finalized(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def _table_cell(value: str | int | float | None, how: str) -> _Cell:
    if value is None or isinstance(value, str):
        return _Cell(value or "")
    return _Cell(format(value, how), float(value))


def _packed(text: str) -> str:
    """Return a text compressed, in letters; the page's script inflates it."""
    return _base64(gzip.compress(text.encode(), mtime=0))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()

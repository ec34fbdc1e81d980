"""Page of a run: one file that shows everything without a network; `templates/` holds its parts."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.leaderboard import Entry, columns, constants
from analysis.report.answer import SearchAnswer, answer
from analysis.report.panel import Panel, RunData, printable
from analysis.report.panels import panels
from analysis.report.picture import png, svg
from analysis.report.several import compare_runs
from analysis.run_store import write_atomically
from search_spaces.space import parameters_text, value_text
from trainables.storage.place import Place, storage_errors

# Letters of an address that need no escape within double quotes.
_SAFE = " !$'()*+,/:;<=>?@[]^`{|}~"


# Letters of a drawing beyond which its pixels are fewer.
_LARGE = 60_000
# Markers, each of which takes more than 60 letters: with more there is no need to draw it twice.
_MANY = 1_000


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
    sections = [_section(data, panels(data)) for data in runs]
    comparison = render_several(runs, has_pictures=True) if len(runs) > 1 else ""
    values = {"runs": sections, "comparison": Markup(comparison), "library": _packed(get_plotlyjs())}
    return templates().get_template("page.html").render(**values, has_pictures=True)


def render_several(runs: Sequence[RunData], *, has_pictures: bool = False) -> str:
    """Return the part of a page that compares several runs. Raises InvalidInput where one is given twice."""
    template = templates().get_template("several.html")
    return template.render(vars(compare_runs(runs)), has_pictures=has_pictures)


def render_run(data: RunData, shown: Sequence[Panel]) -> str:
    """Return the part of a page about one run, with these panels; scripts draw all figures."""
    return templates().get_template("run.html").render(run=_section(data, shown), has_pictures=False)


@cache
def templates() -> jinja2.Environment:
    """Return the templates of pages: they escape what they are given, and refuse a name that they are not given."""
    loader = jinja2.PackageLoader("analysis.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, finalize=_finalized
    )
    environment.filters |= {"packed": _packed, "picture": _picture, "base64": _base64, "table_cell": _table_cell}
    return environment


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


def _picture(figure: go.Figure) -> str:
    """Return the picture of a figure as the address of an image that lies in the page."""
    markers = sum(len(trace.x) for trace in figure.data if trace.type == "scatter" and "markers" in (trace.mode or ""))
    drawing = quote(svg(figure), safe=_SAFE) if markers <= _MANY else None
    if drawing is None or len(drawing) > _LARGE:
        return f"data:image/png;base64,{_base64(png(figure))}"
    return Markup(f"data:image/svg+xml,{drawing}")  # no letter in it ends the attribute


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()

"""Command that writes the page of a run: report."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.options import check_outside, escaped, output, prose, warn_of
from search_spaces.errors import InvalidInput, StorageFailed
from search_spaces.paths import as_path
from trainables.storage.place import as_place


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("report", rich_help_panel="Results")(write_report)


def write_report(
    run: Annotated[
        list[Any],
        typer.Argument(parser=as_place, metavar="RUN...", help="What sweeps wrote, e.g. runs/sweep; all on one page."),
    ],
    out: Annotated[
        Any,
        typer.Option(parser=as_place, metavar="FILE", help="Place of the page; of one run RUN/report.html by default."),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(parser=as_path, metavar="DIR", help="Folder for the figures as PNG files, beside the page."),
    ] = None,
) -> None:
    """Write a page with the answer of a search, all its trials and its figures: one file, without a network."""
    missing = [name for name in ("jinja2", "matplotlib", "pandas", "plotly") if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInput(f"thaw report: needs {', '.join(missing)}, not installed; install thaw[report]")
    if png is not None and len(run) > 1:
        raise InvalidInput(f"--png: takes the figures of one run, got {len(run)} runs; call it for each")
    if out is None and len(run) > 1:
        raise InvalidInput(f"--out: must be given for several runs, got {len(run)} runs without it; name a file")
    if isinstance(out, Path) and out.is_dir():
        raise InvalidInput(
            f"--out: must be a file, got the folder {out}; name a file in it, e.g. {out / 'report.html'}"
        )
    if out is not None and out.suffix.lower() not in (".html", ".htm"):  # a photo or a record would be overwritten
        raise InvalidInput(f"--out: must be an HTML file, got {out}; choose a name that ends in .html")
    from analysis.report.page import write_page, write_pictures
    from analysis.report.panel import RunData

    runs = [RunData.of(place) for place in run]
    for data in runs:
        warn_of(data.board.problems)
    for root in {entry.trial.config.data.root for data in runs for entry in data.board.entries}:
        for option, given in (("--out", out), ("--png", png)):
            if isinstance(given, Path):
                check_outside(option, given, root)
    place = runs[0].run.report_html if out is None else out
    with _writable("--out", out):
        write_page(runs, place)
    prose(output, escaped(place))
    if png is not None:
        with _writable("--png", png):
            written = write_pictures(runs[0], png)
        prose(output, escaped(f"{png}: {', '.join(path.name for path in written)}"))


@contextmanager
def _writable(option: str, given: Path | None) -> Iterator[None]:
    """Refuse a place that the user has given and that cannot be written."""
    try:
        yield
    except StorageFailed as error:
        if given is None:
            raise
        raise InvalidInput(f"{option}: must be writable, got {given}: {error}; choose another place") from None

"""Command that shows runs live in a browser: dashboard."""

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.options import errors, escaped, prose
from search_spaces.errors import InvalidInput, StorageFailed
from search_spaces.paths import as_path
from trainables.storage.place import as_place

_NEEDED = ("fastapi", "uvicorn", "jinja2", "matplotlib", "pandas", "plotly")


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Results")(dashboard)


def dashboard(
    runs: Annotated[
        Any,
        typer.Argument(
            parser=as_place, metavar="RUNS_ROOT", help="A folder or bucket of runs, or one run, e.g. runs/sweep."
        ),
    ] = "runs",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 is any free one.")] = 8765,
    token_file: Annotated[
        Path | None,
        typer.Option(
            parser=as_path,
            metavar="FILE",
            help="Holds the token with which a page may stop and resume runs; by default $THAW_DASHBOARD_TOKEN.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show runs in a browser while they run: the page of `thaw report`, live; for this machine alone."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"thaw dashboard: needs {', '.join(missing)}, not installed; install thaw[report] and thaw[serve]"
        )
    from orchestrator.serve.access_token import read_token
    from orchestrator.serve.dashboard_app import Dashboard
    from orchestrator.serve.live_list import LiveList
    from orchestrator.serve.loopback import listen, server_of
    from orchestrator.serve.refresher import Refresher

    token, refresher = read_token(token_file), Refresher()
    try:
        if not runs.is_dir():
            raise InvalidInput(f"RUNS_ROOT: must be an existing folder, got {runs}; give the `storage.root` of sweeps")
        found = LiveList(runs, refresher)
    except StorageFailed as error:  # nothing has been done yet
        raise InvalidInput(str(error)) from error
    server = listen(port)
    can = "shows, stops and resumes" if token is not None else "shows"
    prose(errors, f"http://127.0.0.1:{server.getsockname()[1]}/ {can} {escaped(runs)}; Ctrl-C ends it")
    server_of(Dashboard(found, refresher, token).app()).run(sockets=[server])

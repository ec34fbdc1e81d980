"""Group `thaw data`: its commands, put together."""

import typer

from orchestrator.commands.data.check import check
from orchestrator.commands.data.preview import preview


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(no_args_is_help=True, help="Look at the data before anything is trained.")
    group.command()(check)
    group.command()(preview)
    app.add_typer(group, name="data", rich_help_panel="Start")

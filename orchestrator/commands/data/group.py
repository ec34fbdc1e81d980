"""Group `thaw data`: its commands, put together."""

import typer

from orchestrator.commands.data.balance import compare_balance
from orchestrator.commands.data.check import check
from orchestrator.commands.data.preview import preview
from orchestrator.commands.data.split import split
from orchestrator.commands.data.stats import stats


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(no_args_is_help=True, help="Look at the data before anything is trained.")
    for command in (check, split, preview, stats):
        group.command()(command)
    group.command("balance")(compare_balance)
    app.add_typer(group, name="data", rich_help_panel="Start")

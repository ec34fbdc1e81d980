"""App: the commands of `thaw`, put together. A command imports its modules when it runs."""

import importlib.metadata
from typing import Annotated

import typer

from orchestrator.commands import dashboard, data, leaderboard, plan, report, results, setup, sweeps, trials, wandb

app = typer.Typer(
    name="thaw",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
setup.register(app)
data.register(app)
plan.register(app)
sweeps.register(app)
trials.register(app)
leaderboard.register(app)
results.register(app)
report.register(app)
dashboard.register(app)
wandb.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"thaw {importlib.metadata.version('thaw')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search for the best way to fine-tune an image classifier, and hand over a verified ONNX model."""

"""App: the commands of `thaw`, put together. A command imports its modules when it runs."""

import importlib
import importlib.metadata
from typing import Annotated

import typer

# Commands by the module that registers them, in the order of the help.
COMMANDS = {
    **dict.fromkeys(("demo", "init", "schema", "doctor"), "setup"),
    "data": "data.group",
    **dict.fromkeys(("space", "plan", "sweep", "resume", "extend", "confirm", "status", "logs", "stop"), "sweeps"),
    "submit": "submit",
    **dict.fromkeys(("trial", "explain", "import-config"), "trials"),
    **dict.fromkeys(("leaderboard", "compare"), "leaderboard"),
    **dict.fromkeys(("evaluate", "retrain", "export"), "results"),
    **dict.fromkeys(("predict", "benchmark"), "models"),
    "report": "report",
    "dashboard": "dashboard",
    "wandb": "wandb",
}


def make_app(command: str | None = None) -> typer.Typer:
    """Make the app, of the modules of one command where it is known, else of all: importing them takes time."""
    app = typer.Typer(
        name="thaw",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    names = [command] if command in COMMANDS else [*COMMANDS]
    for module in dict.fromkeys(COMMANDS[name] for name in names):
        importlib.import_module(f"orchestrator.commands.{module}").register(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"thaw {importlib.metadata.version('thaw')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search for the best way to fine-tune an image classifier, and hand over a verified ONNX model."""

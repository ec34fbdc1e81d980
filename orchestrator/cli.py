"""Command line `thaw`. Errors are one message and an exit code; a command imports its modules when it runs."""

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands import data, options, plan, results, setup, sweeps, trials
from search_spaces.errors import ThawError
from search_spaces.permissions import missing_permission

# Modules that only thaw[train] brings; aiohttp comes with ray.
_EXTRA = {
    *(
        "boto3",
        "botocore",
        "torch",
        "torchvision",
        "timm",
        "accelerate",
        "safetensors",
        "huggingface_hub",
        "scipy",
        "sklearn",
    ),
    *("ray", "aiohttp", "optuna", "wandb", "onnx", "onnxscript"),
}

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
results.register(app)


def main() -> None:
    """Run the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; return the exit code: 0, 1 for a failure, 2 for bad input, 130 when interrupted."""
    try:
        app(args=arguments, prog_name="thaw")
    except SystemExit as end:  # typer ends in this way, after it has printed its messages
        return end.code if isinstance(end.code, int) else 0
    except ThawError as error:
        options.prose(options.errors, f"[bold red]error:[/bold red] {options.escaped(error)}")
        return error.exit_code
    except PermissionError as error:
        if error.filename is None:
            raise
        message = missing_permission(Path(os.fsdecode(error.filename)))
        options.prose(options.errors, f"[bold red]error:[/bold red] {options.escaped(message)}")
        return 2
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        options.prose(options.errors, f"[bold red]error:[/bold red] this needs {error.name}: install thaw\\[train]")
        return 1
    return 0


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

"""The command line: `thaw`. Errors are one message and an exit code; what a command needs is imported when it runs."""

import os
import sys

import click
import typer

from orchestrator.commands import options, results, setup, sweeps, trials
from search_spaces.errors import ThawError

# Modules that only thaw[train] brings.
_EXTRA = {"torch", "torchvision", "timm", "accelerate", "sklearn", "safetensors", "ray", "optuna", "wandb", "onnx"}

app = typer.Typer(
    name="thaw",
    help="Search for the best way to fine-tune an image classifier, and hand over a verified ONNX model.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
setup.register(app)
sweeps.register(app)
trials.register(app)
results.register(app)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code: 0, 1 for a failure, 2 for bad input, 130 when interrupted."""
    try:
        code = typer.main.get_command(app).main(args=arguments, prog_name="thaw", standalone_mode=False)
    except ThawError as error:
        options.errors.print(f"[bold red]error:[/bold red] {options.escaped(error)}", soft_wrap=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        options.errors.print(f"[bold red]error:[/bold red] this needs {error.name}: install thaw\\[train]")
        return 1
    except (KeyboardInterrupt, click.Abort):
        options.errors.print("interrupted")
        return 130
    except BrokenPipeError:
        # The reader of a pipe went away, e.g. `thaw leaderboard RUN | head`; there is nobody left to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0

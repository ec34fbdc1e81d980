"""Options and consoles that commands share."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.terminal.safe_console import SafeConsole
from search_spaces.errors import InvalidInput
from search_spaces.paths import as_path
from search_spaces.redaction import redact
from search_spaces.shell import thaw_command
from search_spaces.terminal_text import without_controls
from trainables.storage.place import Place, as_place

if TYPE_CHECKING:
    from analysis.run_folder import RunFolder
    from orchestrator.tracking.observer import TrackerProblem

# Results are printed on standard output, progress and messages on standard error.
# Without emoji: `:x:` may stand in a path, and would become a picture.
output: Console = SafeConsole(emoji=False)
errors: Console = SafeConsole(stderr=True, emoji=False)

_PATIENCE = 1.0


class Format(StrEnum):
    """Format: format of a printed result."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="json: one JSON document on standard output.")]
# A `Place`; typer has no unions.
RunArgument = Annotated[
    Any,
    typer.Argument(
        parser=as_place, metavar="RUN", help="A run: what a sweep wrote, e.g. runs/sweep or s3://bucket/runs/sweep."
    ),
]
SweepArgument = Annotated[
    Path, typer.Argument(parser=as_path, metavar="FILE", help="The sweep file; `thaw init` writes one.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value of the file, e.g. --set data.image_size=160; repeatable."
    ),
]

TrialOption = Annotated[
    str | None,
    typer.Option("--trial", metavar="TRIAL", help="A trial by its id, e.g. 0007, in place of the winner."),
]
RankOption = Annotated[
    int | None,
    typer.Option("--rank", min=1, help="A trial by its rank on the leaderboard, in place of the winner."),
]

AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT",
        help="The Ray cluster that this machine is a node of; by default $RAY_ADDRESS, else a Ray of its own.",
        show_default=False,
    ),
]


def as_place_or_address(text: str) -> Place | str:
    """Return a path or bucket; the address `wandb:...` as it is."""
    return text if text.startswith("wandb:") else as_place(text)


@contextmanager
def decoding_bar(*, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback for the images decoded, shown as a bar on a terminal once decoding has taken a second."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=errors, transient=True, disable=quiet or not errors.is_terminal)
    task, begun = bar.add_task("fetching and decoding", total=None), time.monotonic()

    def show(done: int, total: int) -> None:
        if time.monotonic() - begun > _PATIENCE:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()


def check_outside(option: str, given: Path, root: Place) -> None:
    """Raise InvalidInput, naming the option, where a file or folder to write lies inside `root`, that of the data."""
    if isinstance(root, Path) and given.resolve().is_relative_to(root.resolve()):
        raise InvalidInput(f"{option}: must lie outside of the data in {root}, got {given}; choose another place")


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Raise InvalidInput that names the option where the block cannot write the file or folder `path`."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"{option}: must be writable, got {path}: {error.strerror or error}; choose another place"
        ) from None


def print_json(value: Any) -> None:
    """Print one JSON document on standard output, unformatted by the terminal."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def prose(console: Console, text: str) -> None:
    """Print a text that the terminal wraps: a path or a command that we had cut in two could not be copied."""
    console.print(text, highlight=False, soft_wrap=True)


def warn_of(problems: Iterable[str]) -> None:
    """Print each problem as a warning, on standard error."""
    for problem in problems:
        prose(errors, f"[bold yellow]warning:[/bold yellow] {escaped(problem)}")


def show_problem(problem: "TrackerProblem") -> None:
    """Print a problem of a tracker in one line."""
    warn_of([problem.message])


def hint_of_sync(run: "RunFolder") -> None:
    """Print how what was recorded offline reaches W&B, where there is some of it."""
    from orchestrator.tracking.weights_biases.offline_files import unsent_files

    if unsent_files(run, "*"):
        prose(errors, f"\nsend it to W&B:            {escaped(thaw_command('wandb', 'sync', run.root))}")


def escaped(value: object) -> str:
    """Return a text that rich shows as it is, without the secrets in it, its control characters written out."""
    return escape(without_controls(redact(str(value))))

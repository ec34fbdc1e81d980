"""Commands that show trials: leaderboard, compare."""

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.options import (
    Format,
    FormatOption,
    RunArgument,
    as_place_or_address,
    errors,
    escaped,
    output,
    print_json,
    prose,
    warn_of,
)
from search_spaces.shell import thaw_command
from search_spaces.space import parameters_text
from search_spaces.terminal_text import without_controls
from trainables.storage.place import Place

if TYPE_CHECKING:
    from analysis.leaderboard import Leaderboard


class TableFormat(StrEnum):
    """TableFormat: format of a printed table."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"


RunsArgument = Annotated[
    list[Any],
    typer.Argument(
        parser=as_place_or_address,
        metavar="RUN...",
        help="What sweeps wrote, e.g. runs/sweep or s3://bucket/runs/sweep; or wandb:ENTITY/PROJECT/GROUP. "
        "The trials of several runs are ranked together.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(rich_help_panel="Results")(leaderboard)
    app.command("compare", rich_help_panel="Results")(side_by_side)


def leaderboard(
    run: RunsArgument,
    where: Annotated[
        str | None,
        typer.Option(help='Show only these, e.g. "architecture=resnet18 and lr>1e-3".', show_default=False),
    ] = None,
    best_per: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show the best of each architecture, strategy, ...", show_default=False),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Order by a column, setting or metric, e.g. seconds.", show_default=False),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Turn the order around.")] = False,
    top: Annotated[int | None, typer.Option(min=1, help="Show only so many, from the first.")] = None,
    format: Annotated[
        TableFormat, typer.Option("--format", help="json: one JSON document on standard output.")
    ] = TableFormat.TABLE,
) -> None:
    """Show the trials of a run, or of several, best first."""
    from analysis.leaderboard import Leaderboard, constants
    from analysis.selection import Selection
    from orchestrator.terminal.laid_out import laid_out
    from orchestrator.terminal.trial_table import trial_table

    board = Leaderboard.joined([_read(each, indexed=len(run) == 1) for each in run])
    warn_of(board.problems)
    entries = Selection(where, best_per, sort, reverse, top).apply(board.entries)
    is_whole = len(entries) == len(board.entries) or (top is not None and where is None and best_per is None)
    shown = replace(board, entries=entries, probes=board.probes if is_whole else ())
    if format is TableFormat.JSON:
        print_json(shown.to_json())
    elif format is TableFormat.CSV:
        typer.echo(without_controls(shown.to_csv()), nl=False)
    elif not board.entries:
        prose(errors, f"{escaped(run[0])} has no trials yet; see `{escaped(thaw_command('status', run[0]))}`")
    elif not entries:
        prose(errors, f"none of the {len(board.entries)} trials fulfils --where {escaped(where)}")
    elif format is TableFormat.MARKDOWN:
        typer.echo(without_controls(shown.to_markdown()))
    else:
        if same := constants(entries):
            prose(output, f"[dim]all: {escaped(parameters_text(same))}[/dim]\n")
        table = trial_table(entries, board.objective, output, shown.probes, sort)
        output.print(laid_out(table, output), soft_wrap=True)
        note_folds(shown)
        for each in run:
            if not isinstance(each, str):
                _show_confirmation(each)


def note_folds(board: "Leaderboard") -> None:
    """Name the folds over which the objective of trials is a mean, where they have some."""
    from analysis.comparisons.folds import folds_text

    if folds := folds_text(entry.trial for entry in board.entries):
        prose(output, f"[dim]{board.objective.metric}: {folds}[/dim]")


def side_by_side(
    run: RunArgument,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="A trial of the run, e.g. 0007.")],
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Another trial of it.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Show where two trials differ: settings, curves, and whether one is better on the validation images."""
    from analysis.comparisons.comparison import compare_trials, comparison_text
    from analysis.leaderboard import Leaderboard
    from analysis.run_folder import open_run
    from orchestrator.terminal.comparison import curve_table, setting_table

    folder = open_run(run)
    board = Leaderboard.from_run(folder)
    warn_of(board.problems)
    found = compare_trials(folder, board, trial, other)
    if format is Format.JSON:
        print_json(found.to_json())
        return
    if found.settings:
        output.print(setting_table(found))
        output.print()
    output.print(curve_table(found))
    prose(output, f"\n{escaped(comparison_text(found))}")


def _show_confirmation(run: Place) -> None:
    """Print the finalists of a run below its table, where they have been trained again."""
    from analysis.run_folder import open_run

    folder = open_run(run)
    if not folder.confirm.is_dir():  # the statistics take a second to import
        return
    from analysis.comparisons.confirmation import confirmation_text, read_confirmation
    from orchestrator.terminal.confirmation import confirmation_table

    found = read_confirmation(folder)
    if found is not None:
        output.print()
        output.print(confirmation_table(found))
        prose(output, f"\n{escaped(confirmation_text(found))}")


def _read(run: Place | str, *, indexed: bool) -> "Leaderboard":
    """Read a run, by its index where it is shown alone: several runs are ranked by one objective."""
    from analysis.indexed_ledger import IndexedLedger
    from analysis.leaderboard import Leaderboard
    from analysis.run_folder import open_run

    if isinstance(run, str):
        from orchestrator.tracking.weights_biases.leaderboard import read_leaderboard

        return read_leaderboard(run)
    return Leaderboard.from_ledger(IndexedLedger(open_run(run))) if indexed else Leaderboard.from_run(run)

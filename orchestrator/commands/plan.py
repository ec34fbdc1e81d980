"""Command that forecasts the cost of a sweep."""

import typer

from orchestrator.commands.options import (
    Format,
    FormatOption,
    SetOption,
    SweepArgument,
    errors,
    output,
    print_json,
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Sweep")(plan)


def plan(file: SweepArgument, set_: SetOption = None, format: FormatOption = Format.TABLE) -> None:
    """Measure what a sweep would cost on this machine: time, memory, trials at once, what cannot fit. No training."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from orchestrator.planning.subprocess_runner import SubprocessRunner
    from orchestrator.spec.loading import load

    spec = load(file, set_ or [])
    runner = SubprocessRunner("trainables.estimate.phase_cost")  # takes seconds to import
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("measuring", total=None)
        from orchestrator.planning.plan import make_plan

        found = make_plan(spec, runner, lambda done, total, what: bar.update(task, completed=done, total=total))
    if format is Format.JSON:
        print_json(found.to_json())
    else:
        from orchestrator.terminal.plan_table import plan_report

        output.print(plan_report(found))
    if found.refused:
        raise typer.Exit(2)

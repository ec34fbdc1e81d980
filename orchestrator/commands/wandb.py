"""Commands for Weights & Biases: wandb publish, wandb sync."""

from typing import Annotated

import typer

from orchestrator.commands.options import (
    Format,
    FormatOption,
    RunArgument,
    errors,
    escaped,
    output,
    print_json,
    prose,
    warn_of,
)

EntityOption = Annotated[
    str | None,
    typer.Option(help="User or team of the project; by default that of the sweep file.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(no_args_is_help=True, help="Show a run in Weights & Biases.")
    group.command()(publish)
    group.command()(sync)
    app.add_typer(group, name="wandb", rich_help_panel="Results")


def publish(
    run: RunArgument,
    entity: EntityOption = None,
    project: Annotated[
        str | None, typer.Option(help="Project with the runs; by default that of the sweep file.", show_default=False)
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Save a workspace and a report of a run in W&B; a second call replaces them."""
    from analysis.leaderboard import Leaderboard
    from analysis.run_folder import open_run
    from orchestrator.spec.loading import load_run
    from orchestrator.tracking.weights_biases.publisher import publish_pages

    folder = open_run(run)
    given = {name: value for name, value in (("entity", entity), ("project", project)) if value is not None}
    settings = load_run(folder).tracking.wandb.model_copy(update=given)
    warn_of(Leaderboard.from_run(folder).problems)
    pages = publish_pages(folder, settings)
    if format is Format.JSON:
        print_json(pages.to_json())
        return
    prose(output, f"workspace: {escaped(pages.workspace)}")
    prose(output, f"report:    {escaped(pages.report)}")


def sync(
    run: RunArgument,
    check: Annotated[bool, typer.Option("--check", help="Only compare; exit code 1 where W&B differs.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Send runs that differ again under a new id, and tag the old ones.")
    ] = False,
    entity: EntityOption = None,
) -> None:
    """Send to W&B what it lacks of a run, from the run's own records."""
    from analysis.run_folder import open_run
    from orchestrator.driver.driver_claim import check_not_driven
    from orchestrator.spec.loading import load_run
    from orchestrator.tracking.weights_biases.sync import WandbSync, describe

    folder = open_run(run)
    check_not_driven(folder.root, say=lambda text: prose(errors, escaped(text)))
    settings = load_run(folder).tracking.wandb
    service = WandbSync(folder, settings if entity is None else settings.model_copy(update={"entity": entity}))
    sent: list[str] = []

    def tell(line: str) -> None:
        sent.append(line)
        prose(errors, escaped(line))

    left = service.differences() if check else service.send(tell, again=replace)
    for line in describe(left):
        prose(output, escaped(line))
    if left:
        raise typer.Exit(1)
    prose(output, "W&B is equal to the ledger" + ("" if sent else "; nothing was sent"))

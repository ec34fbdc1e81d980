"""Commands for Weights & Biases: wandb publish, wandb sync."""

from typing import TYPE_CHECKING, Annotated

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
from search_spaces.errors import InvalidInput
from search_spaces.validation import parse

if TYPE_CHECKING:
    from analysis.run_folder import RunFolder
    from orchestrator.spec.sections import Wandb

EntityOption = Annotated[
    str | None,
    typer.Option(help="User or team of the project; by default that of the sweep file.", show_default=False),
]
ProjectOption = Annotated[
    str | None, typer.Option(help="Project of the runs; by default that of the sweep file.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(no_args_is_help=True, help="Send a run to Weights & Biases, and show it there.")
    group.command()(publish)
    group.command()(sync)
    app.add_typer(group, name="wandb", rich_help_panel="Results")


def publish(
    run: RunArgument,
    entity: EntityOption = None,
    project: ProjectOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Save a workspace and a report of a run in W&B; a second call replaces them."""
    from analysis.leaderboard import Leaderboard
    from analysis.run_folder import open_run
    from orchestrator.tracking.weights_biases.publisher import publish_pages

    folder = open_run(run)
    settings = _settings(folder, entity, project)
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
    project: ProjectOption = None,
) -> None:
    """Send to W&B what it lacks of a run, from the run's own records."""
    from analysis.run_folder import open_run
    from orchestrator.driver.driver_claim import check_not_driven, claimed_winner
    from orchestrator.tracking.weights_biases.sync import WandbSync, describe

    if check and replace:
        raise InvalidInput("--check: must stand without --replace, since it sends nothing, got both; give one of them")
    folder = open_run(run)
    check_not_driven(folder.root, say=lambda text: prose(errors, escaped(text)))
    service = WandbSync(folder, _settings(folder, entity, project))
    sent: list[str] = []

    def tell(line: str) -> None:
        sent.append(line)
        prose(errors, escaped(line))

    if check:
        left = service.differences()
    else:
        with claimed_winner(run):  # neither another one, nor a retraining, sends at the same time
            left = service.send(tell, again=replace)
    for line in describe(left):
        prose(output, escaped(line))
    if left:
        raise typer.Exit(1)
    prose(output, "W&B is equal to the ledger" + ("" if sent or check else "; nothing was sent"))


def _settings(run: "RunFolder", entity: str | None, project: str | None) -> "Wandb":
    """Return the settings of the sweep file, with those that were typed in their place."""
    from orchestrator.spec.loading import load_run
    from orchestrator.spec.sections import Wandb

    given = {name: value for name, value in (("entity", entity), ("project", project)) if value is not None}
    return parse(Wandb, load_run(run).tracking.wandb.model_dump() | given, "--entity, --project")

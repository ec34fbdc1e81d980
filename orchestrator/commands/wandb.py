"""Commands for Weights & Biases: wandb publish."""

from typing import Annotated

import typer

from orchestrator.commands.options import Format, FormatOption, RunArgument, escaped, output, print_json, prose, warn_of


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(no_args_is_help=True, help="Show a run in Weights & Biases.")
    group.command()(publish)
    app.add_typer(group, name="wandb", rich_help_panel="Results")


def publish(
    run: RunArgument,
    entity: Annotated[
        str | None, typer.Option(help="User or team of the project; by default that of the key.", show_default=False)
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="Project with the runs; by default that of the sweep.", show_default=False)
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Save a workspace and a report of a run in W&B; a second call replaces them."""
    from analysis.leaderboard import Leaderboard
    from analysis.run_folder import open_run
    from orchestrator.spec.loading import load_run
    from orchestrator.tracking.wandb_publisher import publish_pages

    folder = open_run(run)
    settings = load_run(folder).tracking.wandb
    if project is not None:
        settings = settings.model_copy(update={"project": project})
    warn_of(Leaderboard.from_run(folder).problems)
    pages = publish_pages(folder, settings, entity)
    if format is Format.JSON:
        print_json(pages.to_json())
        return
    prose(output, f"workspace: {escaped(pages.workspace)}")
    prose(output, f"report:    {escaped(pages.report)}")

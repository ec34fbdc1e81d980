"""The command for one trial, in process, without Ray."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import SetOption, errors, escaped
from search_spaces.errors import InvalidInput


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="One trial")(trial)


def trial(
    config: Annotated[
        Path, typer.Argument(help="A trial's file: `data`, and what a sweep file has under `trial` and `space`.")
    ],
    set_: SetOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Where checkpoints go; by default runs/<name of the file>, beside it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """Run one trial in this process, with a progress bar and without Ray; for a debugger, or a baseline."""
    import logging

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from orchestrator.preflight import cache_folder
    from orchestrator.spec import load_trial
    from orchestrator.tables import epoch_text
    from trainables import checkpoint
    from trainables.folders import TrialFolders
    from trainables.train import train

    settings = load_trial(config, set_ or [])
    root = out or config.parent / "runs" / config.stem
    folders = TrialFolders(root / "checkpoints", root / "predictions.parquet", cache_folder(None))
    if root.exists() and not root.is_dir():
        raise InvalidInput(f"{root}: must be a folder, but it is a file; choose another --out")
    if not resume and root.exists() and any(root.iterdir()):
        raise InvalidInput(f"{root}: must be a new folder, but it is not empty; choose another --out, or add --resume")
    resume_from = folders.last if resume and checkpoint.exists(folders.last) else None
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task(f"{settings.architecture}, {settings.strategy}", total=settings.epochs)
        for report in train(settings, folders, resume_from):
            bar.console.print(epoch_text(report), highlight=False, soft_wrap=True)
            bar.update(task, completed=report.epoch)
    errors.print(f"best checkpoint: {escaped(folders.best)}", highlight=False)

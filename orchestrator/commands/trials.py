"""Commands for one trial: run it without Ray, explain it without training, convert an old configuration to its file."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import (
    Format,
    FormatOption,
    SetOption,
    decoding_bar,
    errors,
    escaped,
    output,
    print_json,
    prose,
    warn_of,
    writing,
)
from search_spaces.errors import InvalidInput
from search_spaces.paths import as_path
from search_spaces.permissions import check_folder
from search_spaces.shell import thaw_command

_FolderOption = Annotated[
    Path | None,
    typer.Option(
        parser=as_path,
        metavar="PATH",
        help="Where checkpoints go; by default runs/<name of the file>, beside it.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(rich_help_panel="One trial")(trial)
    app.command(rich_help_panel="One trial")(explain)
    app.command("import-config", rich_help_panel="One trial")(import_config)


def explain(
    config: Annotated[
        Path, typer.Argument(parser=as_path, metavar="config", help="A trial's file, as for `thaw trial`.")
    ],
    set_: SetOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show epoch by epoch what a trial would train: stages, parameters, learning rates. Nothing is trained."""
    from orchestrator.spec.loading import load_trial
    from trainables.data.arrays import open_used
    from trainables.storage.folders import cache_folder

    settings = load_trial(config, set_ or [])
    dataset = open_used(settings.data, cache_folder(None))

    # These take seconds: files and data that are refused do not wait for them.
    import numpy as np

    from orchestrator.terminal.tables import phase_table
    from trainables.data.balance import batches
    from trainables.estimate.explain import explain_plan
    from trainables.model.build import check_image_size
    from trainables.task.task import load_task
    from trainables.task_catalog import unread_settings

    steps = len(batches(np.arange(len(dataset.splits["train"])), settings.batch_size))
    check_image_size(settings.architecture, settings.data.image_size)
    # Only names and sizes are needed: no weights are downloaded for that.
    model = load_task(settings.task).build(settings, dataset.classes, bare=True)
    phases = explain_plan(settings, model, steps)
    if format is Format.JSON:
        print_json([phase.to_json() for phase in phases])
        return
    total = round(phases[0].parameters / phases[0].share)
    prose(
        output,
        f"{settings.architecture}, {settings.strategy}: {total:,} parameters, {steps} steps an epoch of at most "
        f"{settings.batch_size} images, {len(dataset.classes)} classes",
    )
    output.print(phase_table(phases))
    unread = unread_settings(settings.task)
    starts = [name for name in ("norm_stats", "head_init", "decay_to") if name not in unread]
    if starts:
        prose(output, ", ".join(f"{name}: {getattr(settings, name)}" for name in starts))
    if settings.scheduler == "plateau":
        prose(output, "the plateau scheduler lowers these rates by what it measures")


def trial(
    config: Annotated[
        Path,
        typer.Argument(
            parser=as_path,
            metavar="config",
            help="A trial's file: `data`, and what a sweep file has under `trial` and `space`.",
        ),
    ],
    set_: SetOption = None,
    out: _FolderOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in --out.")] = False,
) -> None:
    """Run one trial in this process, with a progress bar and without Ray; for a debugger, or a baseline."""
    import logging

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from orchestrator.spec.loading import load_trial
    from orchestrator.spec.sections import cache_budget
    from orchestrator.terminal.tables import epoch_text
    from trainables.checkpoint_state import begun_config
    from trainables.data.arrays import decode_rest, load_arrays
    from trainables.storage.folders import TrialFolders, cache_folder

    root = out or config.parent / "runs" / config.stem
    folders = TrialFolders(root / "checkpoints", root / "predictions.parquet", cache_folder(None), cache_budget(None))
    settings = load_trial(config, set_ or [], begun_config(folders.last) if resume else None)
    _check_out(root, resume=resume)

    # These take seconds: a file that is refused does not wait for them.
    from trainables.estimate.order_check import check_order
    from trainables.loop import checkpoint
    from trainables.loop.train import train

    resume_from = folders.last if resume and checkpoint.exists(folders.last) else None
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with decoding_bar() as on_decoding:
        arrays = load_arrays(settings.data, folders.cache, on_progress=on_decoding, budget=folders.cache_budget)
        decode_rest(arrays, on_decoding)
    warn_of(arrays.remarks)
    if resume_from is None:
        check_order(settings, folders.cache, folders.cache_budget)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task(f"{settings.architecture}, {settings.strategy}", total=settings.epochs)
        for report in train(settings, folders, resume_from):
            prose(bar.console, epoch_text(report))
            bar.update(task, completed=report.epoch)
    prose(errors, f"best checkpoint: {escaped(folders.best)}")


def _check_out(root: Path, *, resume: bool) -> None:
    if root.exists() and not root.is_dir():
        raise InvalidInput(f"{root}: must be a folder, but it is a file; choose another --out")
    if not resume and root.exists() and any(root.iterdir()):
        raise InvalidInput(f"{root}: must be a new folder, but it is not empty; choose another --out, or add --resume")
    check_folder("--out", root.absolute())


def import_config(
    old: Annotated[
        Path,
        typer.Argument(
            parser=as_path, metavar="OLD", help="A configuration of the fine-tuning guides or the like: YAML or JSON."
        ),
    ],
    out: Annotated[Path, typer.Option(parser=as_path, metavar="PATH", help="The trial file to write.")] = Path(
        "trial.yaml"
    ),
) -> None:
    """Write a trial file from an old training configuration; entries not understood are listed, none is dropped."""
    from orchestrator.migrate.config import import_file

    with writing("--out", out):
        imported = import_file(old, out)
    lists = (
        ("not understood", imported.unknown),
        ("not quite the same", imported.notes),
        ("defaults taken", imported.defaults),
    )
    for title, lines in lists:
        if lines:
            prose(errors, f"{title}:")
            for line in lines:
                prose(errors, f"  {escaped(line)}")
    prose(errors, f"wrote {escaped(out)}; run it: {escaped(thaw_command('trial', out))}")

"""Commands for exported models: predict, benchmark."""

import time
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.options import (
    Format,
    FormatOption,
    RankOption,
    TrialOption,
    errors,
    escaped,
    output,
    print_json,
    prose,
    warn_of,
)
from search_spaces.errors import InvalidInput
from search_spaces.paths import as_path
from search_spaces.shell import thaw_command
from search_spaces.terminal_text import without_controls
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place, as_place

if TYPE_CHECKING:  # onnxruntime comes with it
    from trainables.bundle.predict import Prediction, UnreadableImage


class PredictedViews(StrEnum):
    """PredictedViews: views of an image whose probabilities `predict` averages."""

    NONE = "none"
    FLIP = "flip"


class PredictionFormat(StrEnum):
    """PredictionFormat: format of printed predictions."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (predict, benchmark):
        app.command(rich_help_panel="Results")(command)


def predict(
    model: Annotated[
        Any,
        typer.Argument(parser=as_place, metavar="MODEL", help="A model.onnx of `thaw export`, or a run that has one."),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(
            parser=as_path, metavar="IMAGES...", help="Images, folders of images, or - for an image that is piped in."
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many labels to give for each image.")] = 5,
    tta: Annotated[
        PredictedViews, typer.Option(help="flip: the mean of the probabilities of an image and of its mirror image.")
    ] = PredictedViews.NONE,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Answer `unsure` where the probability is below.", show_default=False)
    ] = 0.0,
    trial: TrialOption = None,
    rank: RankOption = None,
    format: Annotated[
        PredictionFormat, typer.Option("--format", help="csv: a line per image; json: one document on standard output.")
    ] = PredictionFormat.TABLE,
) -> None:
    """Classify images with an exported model; needs no PyTorch. Exit code 1 where some of them cannot be read."""
    from analysis.run_folder import RunFolder
    from analysis.run_store import RunStore
    from trainables.bundle.predict import Predictor, UnreadableImage

    model = _model_file(model, trial, rank)
    with RunStore(RunFolder(model.parent)).reading(model) as file:
        predictor = Predictor.open(file)
    begun = time.monotonic()
    files = [Path("/dev/stdin") if image == Path("-") else image for image in images]
    answers = predictor.predict_each(files, top=top, mirror=tta is PredictedViews.FLIP, min_confidence=min_confidence)
    errors_found: list[str] = []
    given = 0
    # In portions, so that a folder of a million images shows its first labels at once; JSON is one document.
    while portion := list(islice(answers, None if format is PredictionFormat.JSON else 1000)):
        _print_answers(portion, format, is_first=given == 0)
        given += len(portion)
        errors_found += [answer.error for answer in portion if isinstance(answer, UnreadableImage)]
    seconds = time.monotonic() - begun
    if given > 1:
        prose(errors, f"[dim]{given} images in {seconds:.1f} s, {given / seconds:.3g} per second[/dim]")
    _tell_unreadable(errors_found, given)


def _tell_unreadable(found: Sequence[str], given: int) -> None:
    """End the command where some of the images cannot be read."""
    if found and len(found) == given:
        more = f"; {given - 1} more cannot be read either" if given > 1 else ""
        raise InvalidInput(f"{found[0]}{more}")
    for error in found:
        prose(errors, f"[bold red]error:[/bold red] {escaped(error)}")
    if found:
        raise typer.Exit(1)


def _print_answers(
    portion: Sequence["Prediction | UnreadableImage"], format: PredictionFormat, *, is_first: bool
) -> None:
    from analysis.text_tables import csv_table
    from orchestrator.terminal.tables import prediction_table
    from trainables.bundle.predict import Prediction

    rows = [answer.to_json() for answer in portion]
    if format is PredictionFormat.JSON:
        print_json(rows)
    elif format is PredictionFormat.CSV:
        head, _, lines = csv_table(("path", "label", "probability", "error"), rows).partition("\n")
        typer.echo(without_controls(f"{head}\n{lines}" if is_first else lines), nl=False)
    elif predictions := [answer for answer in portion if isinstance(answer, Prediction)]:
        output.print(prediction_table(predictions))


def benchmark(
    models: Annotated[
        list[Any],
        typer.Argument(parser=as_place, metavar="MODEL...", help="Models of `thaw export`, or runs that have one."),
    ],
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Images at once; repeatable. By default 1 and 16.")
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, help="Threads on the CPU; repeatable. By default 1, and one per core.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each batch size.")] = 2.0,
    format: FormatOption = Format.TABLE,
) -> None:
    """Measure what exported models cost on this machine: latency, images per second, memory, beside PyTorch.

    Of a run it measures every variant, and notes the figures on the model's card and for `thaw report`.
    """
    from analysis.run_folder import RunFolder, open_run
    from analysis.run_store import RunStore
    from orchestrator.cluster.limits import allowed_cores
    from orchestrator.driver.driver_claim import claimed_winner
    from orchestrator.results.cost import keep_measurements
    from orchestrator.terminal.tables import benchmark_table
    from trainables.bundle.benchmark import Measurement, measure, targets

    counts, sizes = ([*dict.fromkeys(chosen)] for chosen in (threads or (1, allowed_cores()), batch or (1, 16)))
    found: list[Measurement] = []
    of_runs: dict[Place, list[Measurement]] = {}
    for given, files in [(each, _files(each)) for each in models]:
        begun = len(found)
        for model in files:
            with RunStore(RunFolder(model.parent)).reading(model) as file:
                for target in targets(file, counts):
                    where = f"{target.runtime} on {target.device}, threads: {target.threads}"
                    prose(errors, f"[dim]{escaped(model)}: {where}[/dim]")
                    measured = measure(file, target, sizes, seconds)
                    found += [replace(each, model=str(model)) for each in measured]
        if given not in files:
            of_runs[given] = found[begun:]
    if format is Format.JSON:
        print_json([each.to_json() for each in found])
    else:
        output.print(benchmark_table(found))
    for given, measured in of_runs.items():
        with claimed_winner(given):
            keep_measurements(open_run(given), measured)


def _files(given: Place) -> list[Place]:
    """Return the models that are measured: a file alone, or the one of a run with its variants."""
    from analysis.run_folder import RunFolder
    from analysis.run_store import RunStore
    from trainables.bundle.variant import Variant

    model = _model_file(given, None, None)
    if model == given:
        return [model]
    store = RunStore(RunFolder(model.parent))
    beside = [model.with_name(variant.file) for variant in Variant if variant is not Variant.WEB]
    return [model, *(file for file in beside if store.has(file))]


def _model_file(model: Place, trial: str | None, rank: int | None) -> Place:
    """Return the model.onnx that is meant: a file, or the one of a run. Raises InvalidInput where there is none."""
    from analysis.run_folder import open_run
    from analysis.selection import choose_trial
    from analysis.winner import MODEL_ONNX, exported_model, exported_trial, stale_export_remark

    chosen = [option for option, value in (("--trial", trial), ("--rank", rank)) if value is not None]
    if not chosen and not (model.is_dir() and (model / "run.json").is_file()):
        if isinstance(model, BucketPath) and not model.is_file():
            raise InvalidInput(f"{model}: no such model; give the model.onnx that `thaw export` wrote, or its run")
        return model / MODEL_ONNX if model.is_dir() and (model / MODEL_ONNX).is_file() else model
    if model.is_file():
        raise InvalidInput(f"{chosen[0]}: must stand with a run, got the file {model}; give the folder of the run")
    run = open_run(model)
    found = choose_trial(run, trial, rank)
    name = None if found is None else found.trial_id
    exported = exported_model(run, name)
    if exported is None and name is not None and exported_trial(run) == name:
        exported = exported_model(run)
    if exported is None:
        command = thaw_command("export", model, *(() if name is None else ("--trial", name)))
        which = "its winner" if name is None else f"trial {name}"
        raise InvalidInput(f"{model}: must have an exported model of {which}, got none; export it: `{command}`")
    if name is None:
        try:
            remark = stale_export_remark(run)
        except InvalidInput as error:  # of a record that predicting does not need
            remark = str(error)
        warn_of([remark] if remark is not None else [])
    return exported

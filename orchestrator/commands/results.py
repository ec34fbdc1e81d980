"""Commands for the winner: evaluate, retrain, export, predict, benchmark."""

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
    RunArgument,
    TrialOption,
    as_place_or_address,
    errors,
    escaped,
    hint_of_sync,
    output,
    print_json,
    prose,
    show_problem,
    warn_of,
)
from search_spaces.errors import InvalidInput
from search_spaces.paths import as_path
from search_spaces.shell import thaw_command
from search_spaces.terminal_text import without_controls
from trainables.bundle.variant import PIXELS_FILE, Variant
from trainables.data_config import TrainedOn
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place, as_place

if TYPE_CHECKING:  # onnxruntime comes with it
    from orchestrator.results.export import Exported
    from trainables.bundle.predict import Prediction, UnreadableImage


class Augmentation(StrEnum):
    """Augmentation: views of each image whose probabilities are averaged."""

    NONE = "none"
    FLIP = "flip"
    FLIP_CROPS = "flip+crops"


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
    for command in (evaluate, retrain, export, predict, benchmark):
        app.command(rich_help_panel="Results")(command)


def evaluate(
    run: RunArgument,
    trials: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TRIAL]...", help="Trial ids; several vote. Without any, the winner."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="train, val or test. To choose between trials take val: test is for the last word.")
    ] = "test",
    tta: Annotated[
        Augmentation, typer.Option(help="Views of each image to average: with its mirror image; with four corners too.")
    ] = Augmentation.NONE,
    ensemble: Annotated[
        int | None, typer.Option(min=2, help="Let the best so many COMPLETED trials vote.", show_default=False)
    ] = None,
    trial: Annotated[
        list[str] | None,
        typer.Option("--trial", metavar="TRIAL", help="A trial by its id, as without the option; repeatable."),
    ] = None,
    rank: Annotated[
        list[int] | None,
        typer.Option("--rank", min=1, help="A trial by its rank on the leaderboard; repeatable, several vote."),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Measure the winner, other trials, or a vote of several on a split, with 95 % intervals."""
    from orchestrator.results.evaluate import evaluate_trials
    from orchestrator.terminal.tables import evaluation_tables, metrics_table

    named, ranks = [*(trials or []), *(trial or [])], rank or []
    if not named:
        _warn_of_records(run)
    measured = evaluate_trials(run, named, ranks=ranks, split=split, tta=tta.value, ensemble=ensemble)
    evaluation = measured.evaluation
    if format is Format.JSON:
        what = {"trial_ids": list(measured.trial_ids), "origin": measured.origin, "tta": tta.value}
        print_json({**what, **evaluation.to_json()})
        return
    images = f", {sum(map(sum, evaluation.confusion))} images" if evaluation.confusion else ""
    views = "" if tta is Augmentation.NONE else f", views: {tta.value}"
    title = f"{measured.origin}: {evaluation.split} split{images}{views}"
    prose(output, f"{escaped(title)}\n")
    output.print(evaluation_tables(evaluation, output))
    output.print()
    output.print(metrics_table(evaluation))


def retrain(
    run: Annotated[
        Any,
        typer.Argument(
            parser=as_place_or_address,
            metavar="RUN",
            help="A run: what a sweep wrote; or wandb:ENTITY/PROJECT/RUN_ID, a trial, which is written to runs/RUN_ID.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(parser=as_path, metavar="PATH", help="The photos, for a trial from W&B that had them elsewhere."),
    ] = None,
    on: Annotated[
        TrainedOn, typer.Option(help="train+val: on the images of val too, to the epoch that was best.")
    ] = TrainedOn.TRAIN,
    trial: TrialOption = None,
    rank: RankOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Train the winner's configuration again, and measure it once on the test split: never seen by the search.

    The winner is the best finalist of `thaw confirm`, else the first of the leaderboard. With --trial or --rank another
    trial takes its place, for `thaw export` too.
    """
    from analysis.run_folder import open_run
    from analysis.selection import choose_trial
    from orchestrator.driver.driver_claim import claimed_winner
    from orchestrator.driver.retrain import retrain_winner
    from orchestrator.terminal.tables import epoch_text, evaluation_tables, metrics_text
    from trainables.result import EpochReport

    def show(report: EpochReport) -> None:
        prose(errors, epoch_text(report))

    if isinstance(run, str):
        run = _adopted(run, data)
    elif data is not None:
        raise InvalidInput("--data: must be left out for a run on disk, which knows its photos; remove it")
    _warn_of_records(run)
    with claimed_winner(run):
        retrained = retrain_winner(run, show, show_problem, choose_trial(open_run(run), trial, rank), on)
    if format is Format.JSON:
        print_json({"trial_id": retrained.trial.trial_id, **retrained.test.to_json()})
        return
    output.print(evaluation_tables(retrained.test, output))
    prose(output, metrics_text(retrained.test))
    hint_of_sync(open_run(run))
    prose(errors, f"\nexport it to ONNX:         {escaped(thaw_command('export', run))}")


def _adopted(address: str, data: Path | None) -> Place:
    """Return a new run folder for a trial that W&B holds."""
    from orchestrator.driver.adopted_run import adopt_trial
    from orchestrator.tracking.weights_biases.leaderboard import split_address
    from orchestrator.tracking.weights_biases.runs import SentRuns

    entity, project, run_id = split_address(address, "RUN_ID")
    trial = SentRuns(project, entity).get(run_id).to_trial(address)
    return adopt_trial(trial, run_id, address, data, {"wandb": {"entity": entity, "project": project}})


def export(
    run: RunArgument,
    variant: Annotated[
        list[Variant] | None,
        typer.Option(
            help="Also a smaller or faster form: fp16 (weights stored in half), int8, ort (onnxruntime's own format); "
            "repeatable. It is deleted where it loses too much.",
            show_default=False,
        ),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(min=0, max=1, help="Macro-F1 that a variant may lose on the validation images.")
    ] = 0.02,
    with_preprocessing: Annotated[
        bool, typer.Option("--with-preprocessing", help="Also a model that takes the pixels of an image of any size.")
    ] = False,
    trial: TrialOption = None,
    rank: RankOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Export the winner to ONNX, and prove on the validation images that it predicts what PyTorch predicts.

    With --trial or --rank another trial is exported, to RUN/exports/TRIAL; the winner's files stay.
    """
    from analysis.run_folder import open_run
    from analysis.selection import choose_trial
    from orchestrator.driver.driver_claim import claimed_winner
    from orchestrator.results.export import WantedVariants, export_trial, export_winner
    from orchestrator.terminal.tables import variant_refusal

    _warn_of_records(run)
    wanted = WantedVariants(tuple(dict.fromkeys(variant or ())), max_drop, with_preprocessing)
    with claimed_winner(run):
        folder = open_run(run)
        chosen = choose_trial(folder, trial, rank)
        exported = export_winner(run, show_problem, wanted) if chosen is None else export_trial(folder, chosen, wanted)
    place = (folder.export if chosen is None else folder.exported(chosen.trial_id)) / exported.bundle.model.name
    _print_export(exported, place, format)
    if format is Format.TABLE:
        hint_of_sync(folder)
        prose(errors, f"\nuse it:                    {escaped(thaw_command('predict', place, 'photo.jpg'))}")
    refused = [report for report in exported.variants if not report.kept]
    for report in refused:
        prose(errors, f"[bold red]error:[/bold red] {escaped(variant_refusal(report))}")
    if refused:
        raise typer.Exit(1)


def _print_export(exported: "Exported", place: Place, format: Format) -> None:
    from orchestrator.terminal.tables import calibration_text, parity_text, pixels_text, variants_table

    bundle = exported.bundle
    if format is Format.JSON:
        document = {"model": str(place), "origin": exported.origin, "opset": bundle.opset}
        document |= {"labels": list(bundle.labels), "parity": bundle.parity.to_json()}
        if bundle.calibration is not None:
            document["calibration"] = bundle.calibration
        if exported.variants:
            document["variants"] = [report.to_json() for report in exported.variants]
        if exported.pixels is not None:
            document["pixels"] = exported.pixels.to_json()
        print_json(document)
        return
    prose(output, f"{escaped(place)} ({exported.origin}, opset {bundle.opset})")
    prose(output, parity_text(bundle.parity))
    if bundle.calibration is not None:
        prose(output, calibration_text(bundle.calibration))
    if exported.variants:
        output.print(variants_table(exported.variants))
    if exported.pixels is not None:
        prose(output, f"{escaped(place.with_name(PIXELS_FILE))}: {pixels_text(exported.pixels)}")


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
    """Measure what exported models cost on this machine: latency, images per second, memory, beside PyTorch."""
    from analysis.run_folder import RunFolder
    from analysis.run_store import RunStore
    from orchestrator.cluster.limits import allowed_cores
    from orchestrator.terminal.tables import benchmark_table
    from trainables.bundle.benchmark import measure, targets

    counts, sizes = ([*dict.fromkeys(chosen)] for chosen in (threads or (1, allowed_cores()), batch or (1, 16)))
    found = []
    for model in [_model_file(each, None, None) for each in models]:
        with RunStore(RunFolder(model.parent)).reading(model) as file:
            for target in targets(file, counts):
                where = f"{target.runtime} on {target.device}, threads: {target.threads}"
                prose(errors, f"[dim]{escaped(model)}: {where}[/dim]")
                measured = measure(file, target, sizes, seconds)
                found += [replace(each, model=str(model)) for each in measured]
    if format is Format.JSON:
        print_json([each.to_json() for each in found])
        return
    output.print(benchmark_table(found))


def _model_file(model: Place, trial: str | None, rank: int | None) -> Place:
    """Return the model.onnx that is meant: a file, or the one of a run. Raises InvalidInput where there is none."""
    from analysis.run_folder import open_run
    from analysis.selection import choose_trial
    from analysis.winner import exported_model

    chosen = [option for option, value in (("--trial", trial), ("--rank", rank)) if value is not None]
    if not chosen and not (model.is_dir() and (model / "run.json").is_file()):
        if isinstance(model, BucketPath) and not model.is_file():
            raise InvalidInput(f"{model}: no such model; give the model.onnx that `thaw export` wrote, or its run")
        return model
    if model.is_file():
        raise InvalidInput(f"{chosen[0]}: must stand with a run, got the file {model}; give the folder of the run")
    run = open_run(model)
    found = choose_trial(run, trial, rank)
    name = None if found is None else found.trial_id
    exported = exported_model(run, name)
    if exported is None:
        command = thaw_command("export", model, *(() if name is None else ("--trial", name)))
        which = "its winner" if name is None else f"trial {name}"
        raise InvalidInput(f"{model}: must have an exported model of {which}, got none; export it: `{command}`")
    return exported


def _warn_of_records(run: Any) -> None:
    """Warn of records that cannot be used: without them another trial may be the winner."""
    from analysis.leaderboard import Leaderboard

    warn_of(Leaderboard.from_run(run).problems)

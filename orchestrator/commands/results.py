"""Commands for the winner: evaluate, retrain, export."""

from enum import StrEnum
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
from search_spaces.shell import thaw_command
from trainables.bundle.variant import PIXELS_FILE, Variant
from trainables.data_config import TrainedOn
from trainables.storage.place import Place, as_place

if TYPE_CHECKING:  # onnxruntime comes with it
    from analysis.run_folder import RunFolder
    from orchestrator.results.export import Exported, WantedVariants
    from trainables.result import TrialResult
    from trainables.task.evaluation import Evaluation


OnOption = Annotated[
    TrainedOn | None,
    typer.Option(
        help="train+val: on the images of val too, to the epoch that was best. Default: train; train+val for a trial "
        "of data.folds.",
        show_default=False,
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT",
        help="Train on the Ray cluster that this machine is a node of, with the run's `resources`; by default "
        "$RAY_ADDRESS, else on this machine.",
        show_default=False,
    ),
]


class Augmentation(StrEnum):
    """Augmentation: views of each image whose probabilities are averaged."""

    NONE = "none"
    FLIP = "flip"
    FLIP_CROPS = "flip+crops"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (evaluate, retrain, export):
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
        _warn_of_records(run, takes_winner=not ranks and ensemble is None)
    measured = evaluate_trials(run, named, ranks=ranks, split=split, tta=tta.value, ensemble=ensemble)
    warn_of(measured.remarks)
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
            help="A run: what a sweep wrote; or one trial, which gets a run of its own, runs/NAME: a trial's file, or "
            "wandb:ENTITY/PROJECT/RUN_ID.",
        ),
    ],
    data: Annotated[
        Any,
        typer.Option(parser=as_place, metavar="PLACE", help="The photos, for a trial that had them elsewhere."),
    ] = None,
    on: OnOption = None,
    trial: TrialOption = None,
    rank: RankOption = None,
    address: ClusterOption = None,
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
    from orchestrator.terminal.tables import epoch_text
    from trainables.result import EpochReport

    def show(report: EpochReport) -> None:
        prose(errors, epoch_text(report))

    run, given = _retrained(run, data, trial, rank)
    with claimed_winner(run):
        chosen = given or choose_trial(open_run(run), trial, rank)
        if given is None and chosen is not None and not chosen.reports:
            raise InvalidInput(f"--trial: must have been trained, got {chosen.trial_id}, {chosen.status}; take another")
        retrained = retrain_winner(run, show, show_problem, chosen, on, is_first=given is not None, address=address)
    if format is Format.JSON:
        measured = {"split": None} if retrained.test is None else retrained.test.to_json()
        print_json({"trial_id": retrained.trial.trial_id, **measured})
        return
    if retrained.on is TrainedOn.TRAIN_AND_VAL:
        prose(errors, "the values of val above are of images that were trained on: they say nothing of new ones")
    _show_test(retrained.test)
    hint_of_sync(open_run(run))
    prose(errors, f"\nexport it to ONNX:         {escaped(thaw_command('export', run))}")


def _show_test(test: "Evaluation | None") -> None:
    from orchestrator.terminal.tables import evaluation_tables, metrics_text

    if test is None:
        prose(errors, "trained on all images; there is no test split, so the mean of the folds stays the estimate")
        return
    output.print(evaluation_tables(test, output))
    prose(output, metrics_text(test))


def _retrained(
    given: Any, data: Place | None, trial: str | None, rank: int | None
) -> tuple[Place, "TrialResult | None"]:
    """Return the run, a new one for a single trial, and the trial of a configuration file."""
    from orchestrator.driver.adopted_run import adopt_config

    is_file = not isinstance(given, str) and given.is_file()
    if isinstance(given, str) or is_file:
        if (trial, rank) != (None, None):
            raise InvalidInput(f"--trial, --rank: must stand with a run, got {given}, which is one trial; remove them")
        run, chosen = adopt_config(given, data) if is_file else (_adopted(given, data), None)
    elif data is not None:
        raise InvalidInput("--data: must be left out for a run on disk, which knows its photos; remove it")
    else:
        run, chosen = given, None
    _warn_of_records(run, takes_winner=(chosen, trial, rank) == (None, None, None))
    return run, chosen


def _adopted(address: str, data: Place | None) -> Place:
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
            help="Also a smaller or faster form, deleted where it loses too much: fp16 (weights stored in half), int8, "
            "ort (onnxruntime's own format); or web, one page that classifies photos in a browser. Repeatable.",
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
    ensemble: Annotated[
        int | None,
        typer.Option(
            min=2, help="Export the mean probabilities of the best N COMPLETED trials as one file.", show_default=False
        ),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Export the winner to ONNX, and prove on the validation images that it predicts what PyTorch predicts.

    --trial and --rank export another trial, to RUN/exports/TRIAL, --ensemble a vote, to RUN/exports/ensemble-N.
    """
    from analysis.run_folder import open_run
    from analysis.selection import choose_trial
    from orchestrator.driver.driver_claim import claimed_winner
    from orchestrator.results.export import WantedVariants
    from orchestrator.terminal.tables import variant_refusal

    _warn_of_records(run, takes_winner=(trial, rank, ensemble) == (None, None, None))
    wanted = WantedVariants(tuple(dict.fromkeys(variant or ())), max_drop, with_preprocessing)
    with claimed_winner(run):
        folder = open_run(run)
        exported, place = _exported(folder, choose_trial(folder, trial, rank), ensemble, wanted)
    _print_export(exported, place, format)
    if format is Format.TABLE:
        hint_of_sync(folder)
        prose(errors, f"\nuse it:                    {escaped(thaw_command('predict', place, 'photo.jpg'))}")
    refused = [report for report in exported.variants if not report.kept]
    for report in refused:
        prose(errors, f"[bold red]error:[/bold red] {escaped(variant_refusal(report))}")
    if refused:
        raise typer.Exit(1)


def _exported(
    run: "RunFolder", chosen: "TrialResult | None", ensemble: int | None, wanted: "WantedVariants"
) -> tuple["Exported", Place]:
    """Export what is asked for, and return it with the path of its model."""
    from analysis.winner import ensemble_name
    from orchestrator.results.export import export_ensemble, export_trial, export_winner

    if ensemble is not None and chosen is not None:
        raise InvalidInput(f"--ensemble: takes the best trials, got {chosen.trial_id} too; leave one out")
    if ensemble is not None:
        exported, folder = export_ensemble(run, ensemble, wanted), run.exported(ensemble_name(ensemble))
    elif chosen is not None:
        exported, folder = export_trial(run, chosen, wanted), run.exported(chosen.trial_id)
    else:
        exported, folder = export_winner(run.root, show_problem, wanted), run.export
    return exported, folder / exported.bundle.model.name


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
        if exported.page is not None:
            document["page"] = str(place.with_name(exported.page.name))
        if exported.removed:
            document["removed"] = list(exported.removed)
        print_json(document)
        return
    prose(output, f"{escaped(place)} ({exported.origin}, opset {bundle.opset})")
    prose(output, parity_text(bundle.parity, exported.on))
    if bundle.calibration is not None:
        prose(output, calibration_text(bundle.calibration))
    if exported.variants:
        output.print(variants_table(exported.variants))
    if exported.pixels is not None:
        prose(output, f"{escaped(place.with_name(PIXELS_FILE))}: {pixels_text(exported.pixels)}")
    if exported.page is not None:
        prose(output, f"{escaped(place.with_name(exported.page.name))}: open it in a browser, it needs nothing else")
    if exported.removed:
        prose(output, f"removed, as they were made of the model before: {escaped(', '.join(exported.removed))}")


def _warn_of_records(run: Any, *, takes_winner: bool = True) -> None:
    """Warn of what may make another trial the winner: records that cannot be used, a best trial that came later."""
    from analysis.leaderboard import Leaderboard
    from analysis.run_folder import open_run
    from analysis.winner import unconfirmed_remark

    warn_of(Leaderboard.from_run(run).problems)
    if takes_winner and (remark := unconfirmed_remark(open_run(run))) is not None:
        warn_of([remark])

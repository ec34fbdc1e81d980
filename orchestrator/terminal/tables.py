"""Tables and texts of evaluations and predictions for the terminal; every command uses these."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from analysis.comparisons.folds import kind_of_images
from orchestrator.terminal.safe_console import safe_text
from search_spaces.space import parameters_text
from trainables.data_config import TrainedOn
from trainables.result import EpochReport
from trainables.status import Status

if TYPE_CHECKING:  # torch, onnxruntime and pyarrow come with these, which a leaderboard does not need
    from analysis.comparisons.baseline import Baseline
    from trainables.bundle.benchmark import Measurement
    from trainables.bundle.parity import Parity
    from trainables.bundle.pixels_export import PixelsReport
    from trainables.bundle.predict import Prediction
    from trainables.bundle.variants import VariantReport
    from trainables.data.preview import BatchCounts
    from trainables.estimate.explain import EpochPlan
    from trainables.interval import Interval
    from trainables.task.evaluation import Evaluation

_COLORS = {
    Status.RUNNING: "cyan",
    Status.COMPLETED: "green",
    Status.PRUNED: "yellow",
    Status.INTERRUPTED: "yellow",
}


def against_probe(found: Baseline) -> str:
    """Say whether the winner beats the best linear probe and, where it does not, what to try."""
    winner, config = found.winner, found.winner.config
    value, (low, high) = found.difference.value, found.difference.interval
    figures = (
        f"{config.objective.metric} {winner.objective:.4f} against {found.probe:.4f}, a difference of {value:+.4f} "
        f"(95 % interval on {found.images} {kind_of_images(winner)} images: {low:+.4f} to {high:+.4f})"
    )
    if found.is_beaten:
        return f"{winner.trial_id} beats the best linear probe, that of {found.architecture}: {figures}"
    verdict = "is worse than" if high < 0 else "does not beat"
    advice = ["a lower learning rate", "more images to train on"]
    if config.norm_stats == "batch" and config.strategy != "head" and config.weights != "none":
        advice.insert(0, "norm_stats: frozen")
    if config.head_init == "random" and config.architecture in found.architectures:
        advice.insert(0, "head_init: probe")
    if high > 0:
        advice.append("more images to validate on, for these leave it open")
    return (
        f"{winner.trial_id} {verdict} the best linear probe, that of {found.architecture}: {figures}. "
        f"Try {', '.join(advice[:-1])}, or {advice[-1]}"
    )


def status_text(status: Status) -> Text:
    """Return a status in its color."""
    return Text(status.value, style=_COLORS.get(status, "red"))


def short_text(parameters: Mapping[str, Any]) -> str:
    """Return parameters in one line; two with well-known values come first, without their names."""
    known = [name for name in ("architecture", "strategy") if name in parameters]
    named = {name: value for name, value in parameters.items() if name not in known}
    return ", ".join([*(str(parameters[name]) for name in known), *([parameters_text(named)] if named else [])])


def duration(seconds: float) -> str:
    """Return a time in a suitable unit, in two or three digits."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.2g} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.1f} min" if seconds < 9.95 * 60 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 99.5 * 3600 else f"{seconds / 86400:.1f} days"


def memory_text(size: int) -> str:
    """Return bytes as MiB or GiB."""
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def epoch_text(report: EpochReport) -> str:
    """Return one epoch in one line."""
    values = "  ".join(f"{name} {value:.4g}" for name, value in report.metrics.items())
    notes = "".join(f"  ({note})" for note in report.notes)
    return f"epoch {report.epoch:>3}  {values}  {report.seconds:.1f} s{notes}"


def phase_table(phases: Sequence[EpochPlan]) -> Table:
    """Return one row per epoch: the stages that train, and the rate of each part from its first step to its last."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("epoch", "stages", "parameters", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("learning rate")
    for phase in phases:
        table.add_row(
            str(phase.epoch),
            str(phase.stages),
            f"{phase.parameters:,}",
            f"{phase.share:.1%}",
            ", ".join(f"{part} {rate}" for part, rate in _rates(phase)),
        )
    return table


def _rates(phase: EpochPlan) -> Iterator[tuple[str, str]]:
    """Yield the parts with their rates; neighboring stages with the same rate as one."""
    texts = {part: f"{first:.2g} .. {last:.2g}" for part, (first, last) in phase.lr.items()}
    for text, parts in itertools.groupby(texts, key=texts.__getitem__):
        names = list(parts)
        yield names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}", text


def evaluation_tables(evaluation: Evaluation, console: Console) -> Group:
    """Return classification report and confusion matrix; where the matrix is too wide, its largest wrong entries.

    Recall comes with its interval where there is room for it. For a task without classes the group is empty.
    """
    if not evaluation.classes:
        return Group()
    report = _report(evaluation, intervals=True)
    if not _fits(report, console):
        report = _report(evaluation, intervals=False)
    matrix = _confusion_matrix(evaluation)
    return Group(report, Text(), matrix if _fits(matrix, console) else _confusions(evaluation))


def _fits(table: Table, console: Console) -> bool:
    """Return whether no cell has to be wrapped."""
    wider = console.options.update_width(console.width + 1)
    return console.measure(table, options=wider).maximum <= console.width


def _report(evaluation: Evaluation, *, intervals: bool) -> Table:
    report = Table(box=None, pad_edge=False, header_style="bold")
    report.add_column("")
    report.add_column("class")
    for name in ("precision", "recall", *(["95 %"] if intervals else []), "f1", "images"):
        report.add_column(name, justify="right", no_wrap=True)
    for index, name in enumerate(evaluation.classes):
        scores = evaluation.per_class[name]
        bounds = [interval_text(evaluation.recall_intervals[name], 3)] if intervals else []
        report.add_row(
            str(index),
            safe_text(name),
            f"{scores['precision']:.3f}",
            f"{scores['recall']:.3f}",
            *bounds,
            f"{scores['f1']:.3f}",
            f"{scores['support']:.0f}",
        )
    return report


def metrics_table(evaluation: Evaluation) -> Table:
    """Return every metric of an evaluation that is one number, with its interval where it has one."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("metric", evaluation.split, "95 %"):
        table.add_column(name, justify="left" if name == "metric" else "right", no_wrap=True)
    for name, value in evaluation.scalars().items():
        bounds = interval_text(evaluation.intervals.get(name), 4)
        table.add_row(name.replace("_", " "), f"{value:.4f}", bounds)
    return table


def interval_text(interval: Interval | None, digits: int) -> str:
    """Return an interval as `low–high`; empty where there is none."""
    return "" if interval is None else f"{interval.low:.{digits}f}–{interval.high:.{digits}f}"


def _confusion_matrix(evaluation: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("true \\ predicted")
    for index in range(len(evaluation.classes)):
        table.add_column(str(index), justify="right")
    for index, name in enumerate(evaluation.classes):
        counts = [
            Text(str(count), style="green" if column == index else "dim" if count == 0 else "red")
            for column, count in enumerate(evaluation.confusion[index])
        ]
        table.add_row(safe_text(f"{index} {name}"), *counts)
    return table


def _confusions(evaluation: Evaluation, limit: int = 10) -> Table:
    wrong = [
        (count, evaluation.classes[row], evaluation.classes[column])
        for row, counts in enumerate(evaluation.confusion)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("true", "taken for", "images"):
        table.add_column(name, justify="right" if name == "images" else "left")
    for count, true, predicted in sorted(wrong, reverse=True)[:limit]:
        table.add_row(safe_text(true), safe_text(predicted), str(count))
    return table


def class_table(counts: BatchCounts) -> Table:
    """Return one row per class: training images, images in the first batches, and weight in the loss."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold")
    for column in ("training images", "none", "sampler", "loss weight"):
        table.add_column(column, justify="right", no_wrap=True)
    for count in counts.classes:
        numbers = (count.images, count.none, count.sampler, f"{count.weight:.3f}")
        table.add_row(safe_text(count.label), *map(str, numbers))
    return table


def metrics_text(evaluation: Evaluation) -> str:
    """Return the metrics of an evaluation in one line."""
    values = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in evaluation.metrics.items())
    return f"{evaluation.split}: {values}"


def prediction_table(predictions: Iterable[Prediction]) -> Table:
    """Return one row per image: its label, the probability, and the next labels."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    table.add_column("label")
    table.add_column("probability", justify="right")
    table.add_column("then", style="dim")
    for prediction in predictions:
        others = ", ".join(f"{label} {probability:.3f}" for label, probability in prediction.top[1:3])
        table.add_row(
            safe_text(prediction.path), safe_text(prediction.label), f"{prediction.probability:.3f}", safe_text(others)
        )
    return table


def benchmark_table(measurements: Sequence[Measurement]) -> Table:
    """Return one row per model, runtime, number of threads and batch size, times in milliseconds."""
    # Eleven columns of a run with variants fit into 80 characters.
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    models = {each.model for each in measurements}
    several = len(models) > 1
    # Of one folder the ends of the names, as fp16.onnx, say which is which.
    folders = {model.rpartition("/")[0] for model in models}
    if several:
        table.add_column("model", overflow="fold")
    table.add_column("runtime")
    for name in ("cores", "batch", "p50 ms", "p95 ms", "p99 ms", "img/s", "load", "memory", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in measurements:
        runtime = {"onnxruntime": "ONNX", "pytorch": "PyTorch"}[each.runtime]
        table.add_row(
            *([safe_text(_ending(each.model) if len(folders) == 1 else each.model)] if several else []),
            runtime if each.device == "CPU" else f"{runtime}, {each.device}",
            *(str(each.threads), str(each.batch)),
            *(_three_digits(seconds * 1000) for seconds in (each.p50, each.p95, each.p99)),
            *(_three_digits(each.images_per_second), duration(each.load_seconds)),
            *(memory_text(each.memory), memory_text(each.size)),
        )
    return table


def _ending(model: str) -> str:
    return model.rpartition("/")[2].removeprefix("model.")


def _three_digits(number: float) -> str:
    return f"{number:.3g}" if number < 99.5 else f"{float(f'{number:.3g}'):,.0f}"


def parity_text(parity: Parity, trained_on: TrainedOn) -> str:
    """Return the result of the comparison of the ONNX model with the PyTorch model, on images of val."""
    was_trained = trained_on is TrainedOn.TRAIN_AND_VAL
    images = "images of val, which were trained on" if was_trained else "validation images"
    ties = f" ({parity.ties} ties)" if parity.ties else ""
    return (
        f"{parity.same_label} of {parity.images} {images}: same label in onnxruntime and PyTorch{ties}; "
        f"largest difference of a logit {parity.max_abs_difference:.1e}"
    )


def calibration_text(calibration: Mapping[str, Any]) -> str:
    """Return by how much the probabilities were off, and what becomes of unsure answers, in two lines."""
    before, after = (
        f"{error['value']:.3f} (95 % {error['interval'][0]:.3f} to {error['interval'][1]:.3f})"
        for error in (calibration["before"], calibration["after"])
    )
    whole, kept = calibration["coverages"][0], min(calibration["coverages"], key=lambda row: abs(row["coverage"] - 0.8))
    return (
        f"temperature {calibration['temperature']:.2f}: expected calibration error {before} before, {after} after\n"
        f"--min-confidence {kept['min_confidence']:.3f}: {kept['coverage']:.0%} of the images get an answer, "
        f"{kept['accuracy']:.1%} of these right; of all images {whole['accuracy']:.1%}"
    )


def variants_table(reports: Sequence[VariantReport]) -> Table:
    """Return one row per variant of an exported model: what it loses, and whether it was kept."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("variant")
    for name in ("loss", "95 %", "same label", "size"):
        table.add_column(name, justify="right")
    table.add_column("")
    for report in reports:
        loss = report.loss
        table.add_row(
            report.variant,
            f"{loss.value:+.4f}",
            f"{loss.interval.low:+.4f} to {loss.interval.high:+.4f}",
            f"{report.same_label} of {report.images}",
            f"{report.size / 1e6:.1f} MB",
            "kept" if report.kept else "deleted",
        )
    return table


def variant_refusal(report: VariantReport) -> str:
    """Return why a variant was deleted, and what to do."""
    if report.max_abs_difference is None:
        return (
            f"{report.variant}: every output must be a finite number, but some are not on {report.images} validation "
            "images; its file is deleted. Take another variant, or another architecture"
        )
    low, high = report.loss.interval
    tried = f" with the best of {len(report.attempts)} settings" if report.attempts else ""
    return (
        f"{report.variant}: the upper end of its loss must be below {report.max_drop:g}, but it is {high:.4f} "
        f"(95 % interval from {low:.4f}, {report.images} validation images){tried}; its file is deleted and the table "
        "stands in parity.json. Allow more with --max-drop, take more validation images, or another architecture"
    )


def pixels_text(report: PixelsReport) -> str:
    """Return the result of the comparison of the model with its preprocessing."""
    return (
        f"pixels of any size in, probabilities out; same label on {report.same_label} of {report.images} validation "
        f"images, largest difference of a probability {report.max_abs_difference:.1e}"
    )

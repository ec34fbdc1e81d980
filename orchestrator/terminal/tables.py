"""Tables and texts of trials, evaluations and predictions for the terminal; every command uses these."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from analysis.leaderboard import Entry, ProbeEntry, columns
from orchestrator.terminal.safe_console import safe_text
from search_spaces.space import parameters_text, value_text
from trainables.config import Objective
from trainables.result import EpochReport
from trainables.status import Status

if TYPE_CHECKING:  # torch, onnxruntime and pyarrow come with these, which a leaderboard does not need
    from analysis.baseline import Baseline
    from trainables.bundle.parity import Parity
    from trainables.bundle.predict import Prediction
    from trainables.data.preview import BatchCounts
    from trainables.estimate.explain import EpochPlan
    from trainables.task.bootstrap import Interval
    from trainables.task.evaluation import Evaluation

ENOUGH_ROOM = 24

_COLOURS = {
    Status.RUNNING: "cyan",
    Status.COMPLETED: "green",
    Status.PRUNED: "yellow",
    Status.INTERRUPTED: "yellow",
}


def trial_table(
    entries: Sequence[Entry],
    objective: Objective,
    console: Console,
    probes: Sequence[ProbeEntry] = (),
    sort: str | None = None,
) -> Table:
    """Return entries in order, with the parameters that differ: one column each, or one for all where that is too wide.

    The numbers of parameters are shown where there is room. Where that one column would be too narrow, the columns of
    epoch and seconds are left out. What the entries are sorted by is always shown. The linear probes follow, without a
    rank.
    """
    varying = columns(entries)
    if probes and "architecture" not in varying:
        varying = ["architecture", *varying]
    for sized in (True, False):
        wide = _trial_table(entries, objective, varying, probes, split=True, sized=sized, sort=sort)
        if _width(wide) <= console.width:
            return wide
    bare = _trial_table(entries, objective, varying, probes, split=False, sort=sort)
    bare.columns.pop()
    timing = console.width - _width(bare) >= ENOUGH_ROOM
    return _trial_table(entries, objective, varying, probes, split=False, timing=timing, sort=sort)


def _width(table: Table) -> int:
    """Return the width that a table of texts without a box needs; rich measures a thousand rows in half a second."""
    cells = [[str(cell) for cell in (column.header, *column.cells)] for column in table.columns]
    widths = [max((cell_len(line) for cell in column for line in cell.splitlines()), default=0) for column in cells]
    return sum(widths) + 2 * (len(widths) - 1)


def _trial_table(
    entries: Sequence[Entry],
    objective: Objective,
    varying: list[str],
    probes: Sequence[ProbeEntry],
    *,
    split: bool,
    timing: bool = True,
    sized: bool = False,
    sort: str | None = None,
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = _leading_columns(entries, objective, timing=timing, sized=sized)
    heads = {"trial_id", "objective", *varying, *(name for name, _, _ in shown)}  # two are headed otherwise
    if sort is not None and sort not in heads:
        shown.append((sort, True, lambda entry: safe_text(_value(entry.row().get(sort)))))
    for name, is_number, _ in shown:
        table.add_column(name, justify="right" if is_number else "left", no_wrap=name != "run")
    failed = any(entry.trial.failure for entry in entries)
    for name in [*varying, *(["failure"] if failed else [])] if split else ["parameters"]:
        table.add_column(name, overflow="fold")
    for entry in entries:
        trial = entry.trial
        known = {"architecture": trial.config.architecture, **trial.parameters}
        own = {name: known[name] for name in varying if name in known}
        reason = trial.failure.message if trial.failure is not None else ""
        if split:
            cells = [value_text(own[name]) if name in own else "" for name in varying] + [reason] * failed
        else:
            cells = ["\n".join(text for text in (short_text(own), reason) if text)]
        table.add_row(*(cell(entry) for _, _, cell in shown), *map(safe_text, cells))
    for probe in probes:
        own = {"architecture": probe.architecture}
        cells = [own.get(name, "") for name in varying] + [""] * failed if split else [probe.architecture]
        row = {"trial": "probe", objective.metric: f"{probe.objective:.4f}"}
        table.add_row(*(row.get(name, "") for name, _, _ in shown), *map(safe_text, cells), style="dim")
    return table


def _leading_columns(
    entries: Sequence[Entry], objective: Objective, *, timing: bool, sized: bool
) -> list[tuple[str, bool, Callable[[Entry], str | Text]]]:
    """Return name, whether it holds numbers, and cell of each column before those of the settings."""
    listed: list[tuple[bool, str, bool, Callable[[Entry], str | Text]]] = [
        (any(entry.run is not None for entry in entries), "run", False, lambda entry: safe_text(entry.run or "")),
        (True, "rank", True, lambda entry: "" if entry.rank is None else str(entry.rank)),
        (True, "trial", False, lambda entry: entry.trial.trial_id),
        (True, "status", False, lambda entry: status_text(entry.trial.status)),
        (True, objective.metric, True, lambda entry: _decimals(entry.objective)),
        (timing, "epoch", True, _epoch_text),
        (timing, "seconds", True, lambda entry: f"{entry.trial.seconds:.1f}"),
        (sized and any(map(size_text, entries)), "trained", True, size_text),
        (any(entry.probe is not None for entry in entries), "probe", True, lambda entry: _decimals(entry.probe)),
    ]
    return [(name, is_number, cell) for is_shown, name, is_number, cell in listed if is_shown]


def _epoch_text(entry: Entry) -> str:
    return "" if entry.epoch is None else f"{entry.epoch}/{len(entry.trial.reports)}"


def _value(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def size_text(entry: Entry) -> str:
    """Return the parameters that were trained, of all, e.g. 7.69k/2.23M; empty where they are not known."""
    trained, total = entry.trainable_parameters, entry.total_parameters
    return "" if trained is None or total is None else f"{_count_text(trained)}/{_count_text(total)}"


def _count_text(count: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def against_probe(found: Baseline) -> str:
    """Say whether the winner beats the best linear probe and, where it does not, what to try."""
    winner, config = found.winner, found.winner.config
    value, (low, high) = found.difference.value, found.difference.interval
    figures = (
        f"{config.objective.metric} {winner.objective:.4f} against {found.probe:.4f}, a difference of {value:+.4f} "
        f"(95 % interval on {found.images} validation images: {low:+.4f} to {high:+.4f})"
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
    return Text(status.value, style=_COLOURS.get(status, "red"))


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
    if _width(report) > console.width:
        report = _report(evaluation, intervals=False)
    matrix = _confusion_matrix(evaluation)
    return Group(report, Text(), matrix if _width(matrix) <= console.width else _confusions(evaluation))


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


def parity_text(parity: Parity) -> str:
    """Return the result of the comparison of the ONNX model with the PyTorch model."""
    ties = f" ({parity.ties} ties)" if parity.ties else ""
    return (
        f"{parity.same_label} of {parity.images} validation images: same label in onnxruntime and PyTorch{ties}; "
        f"largest difference of a logit {parity.max_abs_difference:.1e}"
    )

"""Trials, evaluations and predictions as people read them on a terminal; every command uses these."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from analysis.leaderboard import Entry, columns
from trainables.config import Objective
from trainables.result import Status

if TYPE_CHECKING:  # they bring torch and onnxruntime, which a leaderboard does not need
    from trainables.bundle.parity import Parity
    from trainables.bundle.predict import Prediction
    from trainables.evaluate import Evaluation

_COLOURS = {
    Status.RUNNING: "cyan",
    Status.COMPLETED: "green",
    Status.PRUNED: "yellow",
    Status.INTERRUPTED: "yellow",
}


def trial_table(entries: Sequence[Entry], objective: Objective) -> Table:
    """Entries in order, with one column for each parameter that differs between them."""
    varying = columns(entries)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rank", justify="right")
    table.add_column("trial")
    table.add_column("status")
    table.add_column(objective.metric, justify="right")
    table.add_column("epoch", justify="right")
    table.add_column("seconds", justify="right")
    for name in varying:
        table.add_column(name)
    failed = any(entry.trial.failure for entry in entries)
    if failed:
        table.add_column("failure")
    for entry in entries:
        trial = entry.trial
        reason = [trial.failure.message if trial.failure is not None else ""] if failed else []
        table.add_row(
            "" if entry.rank is None else str(entry.rank),
            trial.trial_id,
            status_text(trial.status),
            "" if entry.objective is None else f"{entry.objective:.4f}",
            "" if entry.epoch is None else f"{entry.epoch}/{len(trial.reports)}",
            f"{trial.seconds:.1f}",
            *(value_text(trial.parameters[name]) if name in trial.parameters else "" for name in varying),
            *reason,
        )
    return table


def status_text(status: Status) -> Text:
    """A status in its colour."""
    return Text(status.value, style=_COLOURS.get(status, "red"))


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """Parameters in one line."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in parameters.items())


def value_text(value: Any) -> str:
    """A parameter's value, rounded for reading."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def evaluation_table(evaluation: "Evaluation") -> Table:
    """Classification report and confusion matrix in one: a row a true class, a column a predicted one."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("true class")
    for name in ("precision", "recall", "f1", "images"):
        table.add_column(name, justify="right")
    for name in evaluation.classes:
        table.add_column(f"-> {name}", justify="right", header_style="dim")
    for index, name in enumerate(evaluation.classes):
        scores = evaluation.per_class[name]
        table.add_row(
            name,
            *(f"{scores[column]:.3f}" for column in ("precision", "recall", "f1")),
            f"{scores['support']:.0f}",
            *(
                Text(str(count), style="green" if column == index else "" if count == 0 else "red")
                for column, count in enumerate(evaluation.confusion[index])
            ),
        )
    return table


def metrics_text(evaluation: "Evaluation") -> str:
    """The metrics of an evaluation in one line."""
    values = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in evaluation.metrics.items())
    return f"{evaluation.split}: {values}"


def prediction_table(predictions: "Iterable[Prediction]") -> Table:
    """One row an image: its label, the probability, and the runners-up."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    table.add_column("label")
    table.add_column("probability", justify="right")
    table.add_column("then", style="dim")
    for prediction in predictions:
        others = ", ".join(f"{label} {probability:.3f}" for label, probability in prediction.top[1:3])
        table.add_row(prediction.path, prediction.label, f"{prediction.probability:.3f}", others)
    return table


def parity_text(parity: "Parity") -> str:
    """What the comparison of the ONNX model with the PyTorch model found."""
    ties = f" ({parity.ties} ties)" if parity.ties else ""
    return (
        f"{parity.same_label} of {parity.images} validation images: same label in onnxruntime and PyTorch{ties}; "
        f"largest difference of a logit {parity.max_abs_difference:.1e}"
    )

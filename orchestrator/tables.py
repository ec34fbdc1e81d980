"""Leaderboard entries as rich tables; every command that shows trials uses these."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from analysis.leaderboard import Entry, columns
from trainables.config import Objective
from trainables.result import Status

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
    failed = any(entry.failure for entry in entries)
    if failed:
        table.add_column("failure")
    for entry in entries:
        table.add_row(
            "" if entry.rank is None else str(entry.rank),
            entry.trial_id,
            status_text(entry.status),
            "" if entry.objective is None else f"{entry.objective:.4f}",
            "" if entry.epoch is None else f"{entry.epoch}/{entry.epochs}",
            f"{entry.seconds:.1f}",
            *(value_text(entry.parameters[name]) if name in entry.parameters else "" for name in varying),
            *([entry.failure or ""] if failed else []),
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

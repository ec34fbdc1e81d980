"""Table of trials for the terminal: the leaderboard, and what a sweep shows of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from analysis.leaderboard import Entry, ProbeEntry, columns
from orchestrator.terminal.tables import short_text, status_text
from search_spaces.space import value_text
from search_spaces.terminal_text import without_controls
from trainables.config import Objective

ENOUGH_ROOM = 24


@dataclass(frozen=True)
class Column:
    """Column: its heading and its cells, from the first row to the last."""

    name: str
    """Heading."""

    cells: Sequence[str | Text]
    """Texts without control characters; those with a color as `Text`."""

    is_number: bool = False
    """True where the cells are aligned on the right."""

    is_setting: bool = False
    """True where long cells are wrapped."""

    @cached_property
    def texts(self) -> list[str]:
        """Heading and cells without their colors."""
        return [self.name, *map(str, self.cells)]

    @cached_property
    def width(self) -> int:
        """Width without wrapping; rich measures a thousand rows in half a second."""
        return max(map(self.measure, "\n".join(self.texts).splitlines()))

    @cached_property
    def measure(self) -> Callable[[str], int]:
        """Function that returns the width of a text of this column: `len` where all are printable ASCII."""
        text = "".join(self.texts)
        return len if text.isascii() and text.isprintable() else cell_len


@dataclass(frozen=True)
class TrialTable:
    """TrialTable: columns of a leaderboard, printed as a table by rich."""

    columns: Sequence[Column]
    """Columns of equal length, from left to right."""

    trials: int
    """Number of trials; the rows below them are dim."""

    def __rich__(self) -> Table:
        """Return the table."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in self.columns:
            if column.is_setting:
                table.add_column(column.name, overflow="fold")
            else:
                side: JustifyMethod = "right" if column.is_number else "left"
                table.add_column(column.name, justify=side, no_wrap=column.name != "run")
        for number, cells in enumerate(zip(*(column.cells for column in self.columns), strict=True)):
            table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), style=self.style(number))
        return table

    def style(self, row: int) -> str:
        """Return the style of a row, from 0; -1 is the heading."""
        return "bold" if row < 0 else "dim" if row >= self.trials else ""


def trial_table(
    entries: Sequence[Entry],
    objective: Objective,
    console: Console,
    probes: Sequence[ProbeEntry] = (),
    sort: str | None = None,
) -> TrialTable:
    """Return entries in order, with the parameters that differ: one column each, or one for all where that is too wide.

    The numbers of parameters are shown where there is room. Where that one column would be too narrow, the columns of
    epoch and seconds are left out. What the entries are sorted by is always shown. The linear probes follow, without a
    rank.
    """
    varying = columns(entries)
    if probes and "architecture" not in varying:
        varying = ["architecture", *varying]
    leading = _leading_columns(entries, objective, probes)
    if sort is not None and sort not in {"trial_id", "objective", *varying, *(column.name for column in leading)}:
        values = [without_controls(_value(entry.row().get(sort))) for entry in entries]
        leading.append(Column(sort, [*values, *[""] * len(probes)], is_number=True))

    def without(*names: str) -> list[Column]:
        return [column for column in leading if column.name not in names or column.name == sort]

    # Where not even the headings fit, no column is filled in vain.
    if _width([*without("trained"), *(Column(name, ()) for name in varying)]) <= console.width:
        apart = _setting_columns(entries, varying, probes)
        for shown in ([*leading, *apart], [*without("trained"), *apart]):
            if _width(shown) <= console.width:
                return TrialTable(shown, len(entries))
    timing = () if console.width - _width(without("trained")) >= ENOUGH_ROOM else ("epoch", "seconds")
    return TrialTable([*without("trained", *timing), _together(entries, varying, probes)], len(entries))


def _width(shown: Sequence[Column]) -> int:
    return sum(column.width for column in shown) + 2 * (len(shown) - 1)


def _setting_columns(entries: Sequence[Entry], varying: Sequence[str], probes: Sequence[ProbeEntry]) -> list[Column]:
    """Return a column of each parameter that differs, and one of the failures where there are some."""
    settings = [_settings(entry, varying) for entry in entries]
    settings += [{"architecture": probe.architecture} for probe in probes]
    texts = {name: [value_text(own[name]) if name in own else "" for own in settings] for name in varying}
    found = [Column(name, [*map(without_controls, cells)], is_setting=True) for name, cells in texts.items()]
    if any(entry.trial.failure for entry in entries):
        reasons = [without_controls(_reason(entry)) for entry in entries]
        found.append(Column("failure", [*reasons, *[""] * len(probes)], is_setting=True))
    return found


def _together(entries: Sequence[Entry], varying: Sequence[str], probes: Sequence[ProbeEntry]) -> Column:
    """Return one column of all parameters that differ, with the failure below them."""
    texts = [(short_text(_settings(entry, varying)), _reason(entry)) for entry in entries]
    cells = ["\n".join(text for text in both if text) for both in texts] + [probe.architecture for probe in probes]
    return Column("parameters", [*map(without_controls, cells)], is_setting=True)


def _settings(entry: Entry, varying: Sequence[str]) -> dict[str, Any]:
    known = {"architecture": entry.trial.config.architecture, **entry.trial.parameters}
    return {name: known[name] for name in varying if name in known}


def _reason(entry: Entry) -> str:
    return "" if entry.trial.failure is None else entry.trial.failure.message


def _leading_columns(entries: Sequence[Entry], objective: Objective, probes: Sequence[ProbeEntry]) -> list[Column]:
    """Return the columns before those of the settings."""
    has_run = any(entry.run is not None for entry in entries)
    listed: list[tuple[bool, str, bool, Callable[[Entry], str | Text]]] = [
        (has_run, "run", False, lambda entry: without_controls(entry.run or "")),
        (True, "rank", True, lambda entry: "" if entry.rank is None else str(entry.rank)),
        (True, "trial", False, lambda entry: entry.trial.trial_id),
        (True, "status", False, lambda entry: status_text(entry.trial.status)),
        (True, objective.metric, True, lambda entry: _decimals(entry.objective)),
        (True, "epoch", True, _epoch_text),
        (True, "seconds", True, lambda entry: f"{entry.totals.seconds:.1f}"),
        (any(map(_size_text, entries)), "trained", True, _size_text),
        (any(entry.probe is not None for entry in entries), "probe", True, lambda entry: _decimals(entry.probe)),
    ]
    of_probes = [{"trial": "probe", objective.metric: f"{probe.objective:.4f}"} for probe in probes]
    return [
        Column(name, [*map(cell, entries), *(row.get(name, "") for row in of_probes)], is_number)
        for is_shown, name, is_number, cell in listed
        if is_shown
    ]


def _epoch_text(entry: Entry) -> str:
    return "" if entry.epoch is None else f"{entry.epoch}/{entry.totals.epochs}"


def _value(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _size_text(entry: Entry) -> str:
    """Return the parameters that were trained, of all, e.g. 7.69k/2.23M; empty where they are not known."""
    trained, total = entry.trainable_parameters, entry.total_parameters
    return "" if trained is None or total is None else f"{_count_text(trained)}/{_count_text(total)}"


def _count_text(count: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)

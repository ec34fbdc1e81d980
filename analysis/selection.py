"""Selection: which trials of a leaderboard are shown, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.conditions import parse_condition
from analysis.leaderboard import COLUMNS, Entry
from search_spaces.errors import InvalidInput, closest, shown


@dataclass(frozen=True)
class Selection:
    """Selection: what a user wants to see of a leaderboard; by default all of it, as it stands."""

    where: str | None = None
    """Condition on the names of a row, see `analysis.conditions`."""

    best_per: str | None = None
    """Name of which each value is shown once, with its best trial."""

    sort: str | None = None
    """Name by whose value the rows are ordered, the smallest first; rows without a value are last."""

    is_reversed: bool = False
    """Show the last row of the order first; rows without a value stay last."""

    top: int | None = None
    """Number of rows, from the first."""

    def apply(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Return the entries that are shown. Raises InvalidInput for a condition or a name that does not fit them.

        Without entries no name is known, and none is refused.
        """
        if not entries:
            return ()
        rows = [(entry, entry.row()) for entry in entries]
        names = {name for _, row in rows for name in row} | {*COLUMNS}
        if self.where is not None:
            holds = parse_condition(self.where, names, "--where")
            rows = [(entry, row) for entry, row in rows if holds(row)]
        if self.best_per is not None:
            rows = _first_of_each(rows, _known(self.best_per, names, "--best-per"))
        if self.sort is not None:
            rows = _sorted(rows, _known(self.sort, names, "--sort"), is_reversed=self.is_reversed)
        elif self.is_reversed:
            rows.reverse()
        return tuple(entry for entry, _ in rows[: self.top])


def _known(name: str, names: set[str], option: str) -> str:
    if name not in names:
        raise InvalidInput(f"{option}: unknown name {shown(name)}; {closest(name, sorted(names))}")
    return name


def _first_of_each(rows: Sequence[tuple[Entry, dict[str, Any]]], name: str) -> list[tuple[Entry, dict[str, Any]]]:
    best: dict[str, tuple[Entry, dict[str, Any]]] = {}
    for entry, row in rows:
        best.setdefault(repr(row.get(name)), (entry, row))
    return list(best.values())


def _sorted(
    rows: Sequence[tuple[Entry, dict[str, Any]]], name: str, *, is_reversed: bool
) -> list[tuple[Entry, dict[str, Any]]]:
    def place(pair: tuple[Entry, dict[str, Any]]) -> tuple[bool, float, str]:
        value = pair[1][name]
        is_number = isinstance(value, int | float)
        return (not is_number, value if is_number else 0.0, "" if is_number else str(value))

    with_value = sorted((pair for pair in rows if name in pair[1]), key=place, reverse=is_reversed)
    return with_value + [pair for pair in rows if name not in pair[1]]

"""Replays a table of trials that were trained to their ends: a sweep in milliseconds, by any searcher and stopper.

Workers are equally fast, so an epoch lasts as long as its training FLOPs, and what all workers have spent by a moment
is their number times that moment.
"""

import gzip
import heapq
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from search_spaces.space import Point


@dataclass(frozen=True)
class Row:
    """One configuration, trained to its end."""

    point: Point
    scores: tuple[float, ...]
    """The objective after each epoch; higher is better."""

    flops: tuple[float, ...]
    """Training FLOPs of each epoch."""

    boundary: int
    """The epoch, from 0, at whose start the last stage thaws."""


class Table:
    """Rows over a grid; a learning rate between those of the grid is taken for the nearest, in its logarithm."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self._by_others: dict[Any, list[Row]] = {}
        for row in rows:
            self._by_others.setdefault(_without_rate(row.point), []).append(row)
        self.best = max(max(row.scores) for row in rows)
        self.unit = sum(sum(row.flops) for row in rows) / len(rows)
        """Mean cost of a trial of the table, in FLOPs."""

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Read what `search_table.py` wrote."""
        rows = json.loads(gzip.decompress(path.read_bytes()))["rows"]
        return cls([Row(row["point"], tuple(row["scores"]), tuple(row["flops"]), row["boundary"]) for row in rows])

    def find(self, point: Mapping[str, Any]) -> Row:
        """The row of a point; of a mapping with more than that, the rest is ignored."""
        rate = math.log(point["lr"])
        near = self._by_others[_without_rate({name: point[name] for name in self._names(point)})]
        return min(near, key=lambda row: abs(math.log(float(row.point["lr"])) - rate))

    def _names(self, point: Mapping[str, Any]) -> list[str]:
        known = {name for row in self.rows for name in row.point}
        return [name for name in point if name in known and point[name] is not None]


class Side(Protocol):
    """A searcher with its stopper, as Ray Tune drives them."""

    def suggest(self, key: str) -> Point | None:
        """The next trial; None when there is no more."""

    def report(self, key: str, scores: tuple[float, ...], *, done: bool) -> bool:
        """Take the scores of a trial so far; whether it goes on. `done`: it has been trained to its end."""


@dataclass(frozen=True)
class Event:
    """A trial has ended an epoch."""

    spent: float
    """FLOPs of all workers by then."""

    key: str
    row: Row
    epoch: int
    """Epochs completed, from 1."""

    goes_on: bool


def replay(table: Table, side: Side, workers: int, budget: float, trials: int) -> Iterator[Event]:
    """Run a sweep of `trials` trials until `budget` FLOPs are spent; its epochs in the order of their ends.

    An epoch that ends after the budget is not reported: whoever pays for it does not see it.
    """
    running: list[tuple[float, int, Row, int]] = []  # when the epoch ends, the trial, its row, epochs completed then
    started = 0

    def start(now: float) -> None:
        nonlocal started
        point = side.suggest(str(started)) if started < trials else None
        if point is not None:
            row = table.find(point)
            heapq.heappush(running, (now + row.flops[0], started, row, 1))
            started += 1

    for _ in range(workers):
        start(0.0)
    while running and running[0][0] * workers <= budget:
        now, number, row, epoch = heapq.heappop(running)
        done = epoch == len(row.scores)
        goes_on = side.report(str(number), row.scores[:epoch], done=done) and not done
        yield Event(now * workers, str(number), row, epoch, goes_on)
        if goes_on:
            heapq.heappush(running, (now + row.flops[epoch], number, row, epoch + 1))
        else:
            start(now)


def regrets(table: Table, events: list[Event], budgets: list[float]) -> list[float]:
    """The table's best score minus the best that was seen, in any epoch of any trial, within each budget (FLOPs)."""
    return [
        table.best - max((event.row.scores[event.epoch - 1] for event in events if event.spent <= budget), default=0.0)
        for budget in budgets
    ]


def _without_rate(point: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, value) for name, value in point.items() if name != "lr"))

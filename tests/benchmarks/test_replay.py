"""The simulator on tables made by hand, where what must come out is known."""

from typing import Any

import pytest
from replay import Row, Table, regrets, replay

from search_spaces.space import Point


def row(name: str, scores: list[float], flops: list[float], lr: float = 1.0) -> Row:
    return Row({"name": name, "lr": lr}, tuple(scores), tuple(flops), boundary=0)


SHORT = row("short", [0.2, 0.5, 0.4], [1, 1, 1])
LONG = row("long", [0.9, 0.8], [10, 10])
TABLE = Table([SHORT, LONG])


class Scripted:
    """Proposes these, and stops the trials that it is told to stop, after so many epochs."""

    def __init__(self, names: list[str], stop: dict[str, int] | None = None) -> None:
        self.names = names
        self.stop = stop or {}
        self.heard: list[tuple[str, tuple[float, ...], bool]] = []

    def suggest(self, key: str) -> Point | None:
        return {"name": self.names[int(key)], "lr": 1.0} if int(key) < len(self.names) else None

    def report(self, key: str, scores: tuple[float, ...], *, done: bool) -> bool:
        self.heard.append((key, scores, done))
        return self.stop.get(key) != len(scores)


def events(
    side: Scripted, workers: int = 1, budget: float = 100, trials: int = 9
) -> list[tuple[float, str, int, bool]]:
    return [(e.spent, e.key, e.epoch, e.goes_on) for e in replay(TABLE, side, workers, budget, trials)]


def test_one_worker_runs_one_trial_after_another() -> None:
    side = Scripted(["short", "long"])
    assert events(side) == [
        (1, "0", 1, True),
        (2, "0", 2, True),
        (3, "0", 3, False),
        (13, "1", 1, True),
        (23, "1", 2, False),
    ]
    assert side.heard == [
        ("0", (0.2,), False),
        ("0", (0.2, 0.5), False),
        ("0", (0.2, 0.5, 0.4), True),
        ("1", (0.9,), False),
        ("1", (0.9, 0.8), True),
    ]


def test_workers_run_side_by_side_and_all_of_them_are_paid() -> None:
    found = events(Scripted(["short", "long"]), workers=2)
    assert found == [
        (2, "0", 1, True),
        (4, "0", 2, True),
        (6, "0", 3, False),
        (20, "1", 1, True),
        (40, "1", 2, False),
    ]


def test_a_stopped_trial_makes_room_for_the_next() -> None:
    found = events(Scripted(["long", "short"], stop={"0": 1}))
    assert found == [(10, "0", 1, False), (11, "1", 1, True), (12, "1", 2, True), (13, "1", 3, False)]


def test_what_ends_after_the_budget_is_not_seen() -> None:
    assert events(Scripted(["short", "long"]), budget=12.9)[-1] == (3, "0", 3, False)
    assert events(Scripted(["short", "long"]), budget=13)[-1] == (13, "1", 1, True)


def test_there_are_no_more_trials_than_planned() -> None:
    assert {key for _, key, _, _ in events(Scripted(["short"] * 5), workers=2, trials=3)} == {"0", "1", "2"}


def test_the_regret_is_what_the_best_epoch_within_the_budget_leaves_to_the_best_of_the_table() -> None:
    seen = list(replay(TABLE, Scripted(["short", "long"]), 1, 100, 9))
    found = regrets(TABLE, seen, [0.5, 1, 2, 12, 13])
    assert found == pytest.approx([0.9, 0.7, 0.4, 0.4, 0.0])


def test_the_unit_is_the_mean_of_the_whole_trials() -> None:
    assert TABLE.unit == (3 + 20) / 2


@pytest.mark.parametrize(("rate", "expected"), [(1e-3, 1e-3), (1.7e-3, 1e-3), (1.8e-3, 3e-3), (9.0, 3e-3)])
def test_a_rate_between_those_of_the_grid_is_taken_for_the_nearest_in_its_logarithm(
    rate: float, expected: float
) -> None:
    table = Table([row("a", [0.1], [1], lr) for lr in (1e-3, 3e-3)])
    other: dict[str, Any] = {"unknown": 7}
    assert table.find({"name": "a", "lr": rate, **other}).point["lr"] == expected

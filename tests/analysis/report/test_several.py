from collections.abc import Callable
from pathlib import Path

import plotly.graph_objects as go
import pytest
from report_runs import SPACE, trial
from run_records import run_record

from analysis.ledger import Ledger
from analysis.report.panel import RunData, Table
from analysis.report.several import compare_runs
from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., RunData]:
    """Makes a run with the trials of these numbers."""

    def make(name: str, *numbers: int, fingerprint: str = "0") -> RunData:
        run = RunFolder(tmp_path / name)
        run.trials.mkdir(parents=True)
        Ledger(run).write_run(run_record(space=SPACE, fingerprint=fingerprint))
        for number in numbers:
            Ledger(run).write_trial(trial(number))
        return RunData.of(run)

    return make


def test_the_best_of_each_run_stands_beside_the_training_of_all(data: Callable[..., RunData]) -> None:
    found = compare_runs([data("first", 0, 1, 2), data("second", 9)])
    table, course = (panel.content for panel in found.panels)
    assert found.names == ("first", "second")
    assert found.lead == "The best trial is 0009 of second: val/macro_f1 0.717."
    assert isinstance(table, Table)
    names = [name for name, _ in table.columns]
    rows = [dict(zip(names, row, strict=True)) for row in table.rows]
    assert [(row["run"], row["trials"], row["trial"], row["seconds of training"]) for row in rows] == [
        ("first", 3, "0002", 24),
        ("second", 1, "0009", 8),
    ]
    assert isinstance(course, go.Figure)
    assert [list(trace.x) for trace in course.data] == [[8, 16, 24], [8]]
    assert list(course.data[0].y) == sorted(course.data[0].y)


def test_runs_on_other_data_are_named(data: Callable[..., RunData]) -> None:
    (problem,) = compare_runs([data("first", 0), data("second", 1, fingerprint="other")]).problems
    assert "has other data than" in problem


def test_a_run_without_trials_is_a_row(data: Callable[..., RunData]) -> None:
    found = compare_runs([data("first"), data("second")])
    assert found.lead == "No trial has completed yet."
    assert isinstance(found.panels[0].content, Table)
    assert [row[1] for row in found.panels[0].content.rows] == [0, 0]


def test_a_run_is_compared_once(data: Callable[..., RunData]) -> None:
    first = data("first", 0)
    with pytest.raises(InvalidInput, match="must be given once"):
        compare_runs([first, first])

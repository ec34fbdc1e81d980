from pathlib import Path

import plotly.graph_objects as go
import pytest
from report_runs import FIGURES, PANELS, trial

from analysis.ledger import Ledger
from analysis.report.panel import RunData
from analysis.report.panels import figures, panels
from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput
from trainables.status import Status


def test_a_run_has_all_figures_in_the_order_in_which_they_are_read(run: RunFolder) -> None:
    made = figures(run.root)
    assert list(made) == FIGURES
    assert all(isinstance(figure, go.Figure) for figure in made.values())
    shown = panels(RunData.of(run))
    assert [panel.name for panel in shown] == PANELS
    assert all(panel.title and panel.note.endswith(".") for panel in shown)


def test_a_run_without_trials_shows_its_data_alone(empty: RunFolder) -> None:
    assert list(figures(empty)) == ["data"]
    Ledger(empty).write_trial(trial(0, Status.FAILED, epochs=0))
    assert list(figures(empty)) == ["data"]
    Ledger(empty).update_run(class_counts={})
    assert figures(empty) == {}


def test_what_the_data_lack_is_left_out(empty: RunFolder) -> None:
    old = trial(0)
    reports = tuple(
        report.model_copy(update={"total_parameters": None, "trainable_parameters": None}) for report in old.reports
    )
    Ledger(empty).write_trial(old.model_copy(update={"reports": reports}))
    assert list(figures(empty)) == ["curves", "search", "data", "cost"], "one trial, without sizes and predictions"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="a run must be an existing folder"):
        figures(tmp_path / "none")

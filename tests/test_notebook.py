"""The notebook of the documents: it holds no outputs, and its cells run on a ledger alone."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from report_runs import FIGURES, SPACE, predicted, trial
from run_records import run_record

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder

ROOT = Path(__file__).parents[1]


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "docs" / "leaderboard.ipynb", as_version=4)


def test_it_stores_no_outputs(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells if cell.outputs or cell.execution_count] == []


def test_it_runs(notebook: nbformat.NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path / "run")
    run.trials.mkdir(parents=True)
    Ledger(run).write_run(run_record(space=SPACE))
    for number in range(24):
        Ledger(run).write_trial(trial(number))
    for name in ("0022", "0023"):
        predicted(run, name)
    monkeypatch.setenv("THAW_RUN", str(run.root))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    table, groups, names, figure, settings, paired = shown
    assert "0023" in table["text/html"]
    assert "progressive" in groups["text/html"]
    assert names["text/plain"].count("'") == 2 * len(FIGURES)
    assert "application/vnd.plotly.v1+json" in figure
    assert "'lr': (0.0001, 0.001)" in settings["text/plain"]
    assert "images=3" in paired["text/plain"]

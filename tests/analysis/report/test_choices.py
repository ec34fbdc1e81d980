import pytest
from report_runs import FIGURES

from analysis.ledger import Ledger
from analysis.report.panel import RunData
from analysis.report.panels import figures, panels
from analysis.run_folder import RunFolder
from trainables.config import Objective


def test_a_setting_that_does_not_apply_has_a_place_of_its_own(run: RunFolder) -> None:
    made = figures(run)["parallel"]
    labels = [note.text for note in made.layout.annotations if note.x == "unfreeze_epoch"]
    assert labels == ["does not apply", "1", "2"]
    assert sum(note.text == "does not apply" for note in made.layout.annotations) == 1
    heights = {y for trace in made.data for x, y in zip(trace.x, trace.y, strict=True) if x == "unfreeze_epoch"}
    assert heights == {-0.15, 0.0, 1.0}


@pytest.mark.parametrize(("mode", "word"), [("max", "high"), ("min", "low")])
def test_the_words_follow_the_objective(run: RunFolder, mode: str, word: str) -> None:
    Ledger(run).update_run(objective=Objective.model_validate({"metric": "val/macro_f1", "mode": mode}))
    notes = {panel.name: panel.note for panel in panels(RunData.of(run))}
    assert f"where the points are {word}" in notes["slices"]
    assert f"a {word} box is a safe choice" in notes["strategies"]
    assert ("upper" if mode == "max" else "lower") in notes["tradeoff"]
    assert ("rises" if mode == "max" else "falls") in notes["curves"] + notes["search"]


def test_a_space_that_cannot_be_read_costs_the_importance_alone(run: RunFolder) -> None:
    Ledger(run).update_run(space={"lr": {"unknown": 3}})
    assert [name for name in FIGURES if name not in figures(run)] == ["importance"]

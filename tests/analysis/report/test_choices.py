from report_runs import FIGURES

from analysis.ledger import Ledger
from analysis.report.panels import figures
from analysis.run_folder import RunFolder


def test_a_setting_that_does_not_apply_has_a_place_of_its_own(run: RunFolder) -> None:
    made = figures(run)["parallel"]
    labels = [note.text for note in made.layout.annotations if note.x == "unfreeze_epoch"]
    assert labels == ["does not apply", "1", "2"]
    assert sum(note.text == "does not apply" for note in made.layout.annotations) == 1
    heights = {y for trace in made.data for x, y in zip(trace.x, trace.y, strict=True) if x == "unfreeze_epoch"}
    assert heights == {-0.15, 0.0, 1.0}


def test_a_space_that_cannot_be_read_costs_the_importance_alone(run: RunFolder) -> None:
    Ledger(run).update_run(space={"lr": {"unknown": 3}})
    assert [name for name in FIGURES if name not in figures(run)] == ["importance"]

from analysis.report.panel import RunData
from analysis.report.panels import figures, panels
from analysis.run_folder import RunFolder


def test_curves_mark_the_thaw_and_the_winner_is_thick(run: RunFolder) -> None:
    made = figures(run)["curves"]
    winner = made.data[-1]
    assert (winner.line.width, list(winner.x)) == (3, [1, 2, 3, 4])
    assert winner.text.startswith("trial 0023 (COMPLETED)<br>")
    assert list(winner.marker.size) == [3, 3, 10, 3], "it thaws at epoch 2, so the third one trains more"
    assert len(made.data) == 24, "one epoch is no curve"


def test_the_search_shows_the_best_so_far(run: RunFolder) -> None:
    made = figures(run)["search"]
    assert [trace.name for trace in made.data] == ["COMPLETED", "PRUNED", "best so far"]
    best = list(made.data[-1].y)
    assert best == sorted(best)
    assert len(best) == 25


def test_the_cost_says_what_stopping_saved(run: RunFolder) -> None:
    (panel,) = [panel for panel in panels(RunData.of(run)) if panel.name == "cost"]
    assert panel.note == "Of all seconds of training; stopping 1 trials early has saved 3 epochs."
    assert {trace.name: sum(trace.x) for trace in panel.figure.data} == {"COMPLETED": 192.0, "PRUNED": 2.0}

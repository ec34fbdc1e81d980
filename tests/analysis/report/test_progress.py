import plotly.graph_objects as go

from analysis.report.panel import RunData
from analysis.report.panels import figures, panels
from analysis.run_folder import RunFolder


def test_curves_mark_the_thaw_and_the_winner_is_thick(run: RunFolder) -> None:
    made = figures(run)["curves"]
    *_, winner, thaws, judged, exempt = made.data
    assert (winner.line.width, list(winner.x)) == (3, [1, 2, 3, 4])
    assert winner.text.startswith("trial 0023 (COMPLETED)<br>")
    symbols = ["circle-open", "square", "diamond", "circle"]
    assert list(winner.marker.symbol) == symbols, "it thaws at epoch 2, so the third one trains more"
    assert [mark.name for mark in (thaws, judged, exempt)] == [
        "first epoch after a thaw",
        "judged at a rung",
        "passes a rung unjudged",
    ]
    assert len(made.data) == 24 + 3, "one epoch is no curve"


def test_the_search_shows_the_best_so_far(run: RunFolder) -> None:
    made = figures(run)["search"]
    assert [trace.name for trace in made.data] == ["COMPLETED", "PRUNED", "best so far"]
    best = list(made.data[-1].y)
    assert best == sorted(best)
    assert len(best) == 25
    completed, pruned, _ = made.data
    assert {*completed.marker.symbol} == {"circle", "circle-open"}
    assert completed.text[2].endswith("<br>rungs: 1 (unjudged), 2")
    assert list(pruned.marker.symbol) == ["circle"]
    (panel,) = [panel for panel in panels(RunData.of(run)) if panel.name == "search"]
    assert "Rung 1: 13 judged, 1 stopped, 12 exempt; rung 2: 24 judged, 0 stopped. An open circle" in panel.note


def test_the_cost_says_what_stopping_saved(run: RunFolder) -> None:
    (panel,) = [panel for panel in panels(RunData.of(run)) if panel.name == "cost"]
    assert panel.note == (
        "The seconds of all trials, which may have run side by side. Stopping 1 trials early has saved 3 epochs, about "
        "6 s. 49 of 97 epochs took their features from the cache; of resnet18 2 s each against 2 s."
    )
    assert isinstance(panel.content, go.Figure)
    assert {trace.name: sum(trace.x) for trace in panel.content.data} == {"COMPLETED": 192.0, "PRUNED": 2.0}

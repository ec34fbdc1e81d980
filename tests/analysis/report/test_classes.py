import plotly.graph_objects as go

from analysis.ledger import Ledger
from analysis.report import classes
from analysis.report.panel import RunData
from analysis.report.panels import figures
from analysis.run_folder import RunFolder


def test_long_names_are_shortened_and_stay_apart(run: RunFolder) -> None:
    names = ["Northern red-shouldered hawk, juvenile (female)", "Northern red-striped hawk, juvenile (female)"]
    assert classes._labels(names) == names, "shortened they are equal"
    assert classes._labels(["x" * 40, "y"]) == ["x" * 14 + "\u2026" + "x" * 13, "y"]


def test_classes_are_those_of_the_winner(run: RunFolder) -> None:
    made = figures(run)
    assert [list(row) for row in made["confusion"].data[0].text] == [["1", "1"], ["", "1"]]
    assert list(made["recall"].data[0].y) == ["cat (2)", "dog (1)"]
    assert made["recall"].data[0].x == (0.5, 1.0)
    assert 0 < made["recall"].data[0].error_x.arrayminus[1] < 1, "one image of one says little"


def test_the_data_are_shown_class_by_class(run: RunFolder) -> None:
    counts = {"train": (3, 30), "val": (2, 8)}
    sizes = {"width": (10, 20, 30, 40, 50), "height": (1, 2, 3, 4, 5)}
    Ledger(run).update_run(class_counts=counts, photo_sizes=sizes)
    made = classes.counts(RunData.of(run))
    assert made is not None
    assert isinstance(made.content, go.Figure)
    train, val = made.content.data
    assert (train.name, train.x, val.x) == ("train", (3, 30), (2, 8)), "the largest class is drawn on top"
    assert "33 training images of 2 classes; the largest, b (30), has 10 times the images of the smallest, a (3)" in (
        made.note
    )
    assert "30 pixels wide and 3 high; the models see 224 x 224" in made.note
    Ledger(run).update_run(class_counts={})
    assert classes.counts(RunData.of(run)) is None, "of an older version"

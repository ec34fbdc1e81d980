from analysis.report import classes
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

from analysis.report.panels import figures
from analysis.run_folder import RunFolder


def test_classes_are_those_of_the_winner(run: RunFolder) -> None:
    made = figures(run)
    assert [list(row) for row in made["confusion"].data[0].text] == [["1", "1"], ["", "1"]]
    assert list(made["recall"].data[0].y) == ["cat (2)", "dog (1)"]
    assert made["recall"].data[0].x == (0.5, 1.0)
    assert 0 < made["recall"].data[0].error_x.arrayminus[1] < 1, "one image of one says little"

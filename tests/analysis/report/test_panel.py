from report_runs import HOSTILE, predicted, texts, trial

from analysis.ledger import Ledger
from analysis.report.panel import color_of, plain
from analysis.report.panels import figures
from analysis.run_folder import RunFolder


def test_names_are_shown_as_text(empty: RunFolder) -> None:
    for number in range(4):
        given = trial(number)
        parameters = {**given.parameters, HOSTILE: HOSTILE if number % 2 else "plain"}
        Ledger(empty).write_trial(given.model_copy(update={"parameters": parameters}))
    predicted(empty, "0003", HOSTILE)
    shown = "".join(texts(made) for made in figures(empty).values())
    assert "<script" not in shown
    assert "<b>" not in shown
    assert "$x" not in shown
    assert "\\x07" not in shown
    assert "&lt;script&gt;" in shown
    assert plain("a\x00b") == "a\ufffdb"


def test_a_strategy_has_the_same_color_in_all_figures() -> None:
    assert color_of("full", ["full", "head"]) == color_of("full", ["full"]) != color_of("head", ["head"])
    assert color_of("b", ["a", "b"]) != color_of("b", ["b"])

from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from analysis.comparisons.comparison import TrialComparison, comparison_text
from analysis.comparisons.paired import PairedDifference
from orchestrator.terminal.comparison import curve_table, setting_table
from trainables.config import Objective
from trainables.interval import Difference, Interval
from trainables.result import TrialResult
from trainables.status import Status


@pytest.fixture
def found(trial: Callable[..., TrialResult]) -> TrialComparison:
    trials = (trial("0003", [0.5, 0.75], Status.COMPLETED), trial("0007", [0.25], Status.PRUNED))
    return TrialComparison(Objective(), trials, {"lr": (0.0123456, 3), "[b]stages": (None, 2)}, None)


def shown(table: object) -> list[str]:
    console = Console(width=60)
    with console.capture() as capture:
        console.print(table)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_settings_and_curves_stand_side_by_side(found: TrialComparison) -> None:
    assert shown(setting_table(found)) == ["setting 0003 0007", "lr 0.0123 3", "[b]stages 2"]
    assert shown(curve_table(found)) == ["epoch 0003 0007", "1 0.5000 0.2500", "2 0.7500"]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.3, "0003 is better than 0007: val/macro_f1 +0.2000 (95 % interval on 40 validation images: +0.1000 to"),
        (-0.3, -0.1, "0003 is worse than 0007: "),
        (-0.1, 0.3, "0003 and 0007 cannot be told apart: "),
    ],
)
def test_the_interval_decides_what_is_said(found: TrialComparison, low: float, high: float, text: str) -> None:
    difference = Difference(value=0.2, interval=Interval(low, high), a=0.75, b=0.55)
    assert comparison_text(replace(found, paired=PairedDifference(difference, 40))).startswith(text)


def test_without_predictions_nothing_is_claimed(found: TrialComparison) -> None:
    assert comparison_text(found).startswith("val/macro_f1: no interval of their difference; it takes accuracy")

from dataclasses import replace

import pytest
from consoles import shown

from orchestrator.terminal.data_tables import balance_table, balance_verdict, counts_table, summary_lines
from trainables.data.summary.class_counts import ClassCounts, weigh_classes
from trainables.data.summary.data_summary import DataSummary
from trainables.estimate.head_balance import ANSWERS, AnswerScore, BalanceComparison
from trainables.interval import Difference, Interval


def difference(low: float, high: float) -> Difference:
    return Difference((low + high) / 2, Interval(low, high), 0.0, 0.0)


def comparison(
    recalls: dict[str, float | None], against_none: tuple[float, float], sampler: dict[str, tuple[float, float]]
) -> BalanceComparison:
    answers = tuple(
        AnswerScore(
            name, (0.9, recalls[name]), (None, None), 0.5, 0.5, 0.5, recalls[name],
            None if recalls[name] is None else difference(*against_none),
        )
        for name in ANSWERS
    )  # fmt: skip
    against = {name: difference(*bounds) for name, bounds in sampler.items()}
    return BalanceComparison("resnet18", ("many", "few"), (90, 9), (30, 21), ("few",), answers, against)


def recalls(**changes: float) -> dict[str, float | None]:
    return {**dict.fromkeys(ANSWERS, 0.3), **changes}


OTHERS = [name for name in ANSWERS if name != "sampler"]


@pytest.mark.parametrize(
    ("found", "sentences"),
    [
        (
            comparison(recalls(sampler=0.8), (0.1, 0.5), dict.fromkeys(OTHERS, (0.1, 0.4))),
            [
                "sampler serves few best here: recall 0.800 against 0.300 with none, a difference beyond its interval",
                "holds here: it is better than none, loss, effective and focal, each beyond its interval",
            ],
        ),
        (
            comparison(recalls(loss=0.8), (-0.1, 0.5), {**dict.fromkeys(OTHERS, (-0.1, 0.4)), "none": (0.1, 0.2)}),
            [
                "loss has the highest recall of few, 0.800 against 0.300 with none, but 21 validation images cannot",
                "is left open here: these images cannot tell it apart from loss, effective and focal; it is better "
                "than none",
            ],
        ),
        (
            comparison(recalls(none=0.9), (-0.1, 0.5), {**dict.fromkeys(OTHERS, (0.1, 0.4)), "none": (-0.5, -0.1)}),
            ["No answer raises the recall of few here: 0.900 with none", "does not hold here: none is better (-0.300"],
        ),
        (comparison(dict.fromkeys(ANSWERS), (0, 0), {}), ["few has no validation images"]),
    ],
)
def test_the_verdict_says_what_the_intervals_say(found: BalanceComparison, sentences: list[str]) -> None:
    verdict = " ".join(balance_verdict(found))
    assert [sentence for sentence in sentences if sentence not in verdict] == []


NAMES = ("glass", "a_class_whose_name_is_long_x", "a_class_whose_name_is_long_y")


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_names_of_classes_keep_room_at_any_width(width: int) -> None:
    answers = tuple(
        AnswerScore(name, (0.93, None, 0.5), (Interval(0.85, 0.97), None, Interval(0.0, 1.0)), *[0.5] * 3, 0.5, None)
        for name in ANSWERS
    )
    found = BalanceComparison("resnet18", NAMES, (1900, 90, 9), (300, 30, 0), ("glass",), answers, {})
    summary = summary_of({"train": (1900, 90, 9), "val": (300, 30, 3), "test": (300, 30, 3)})
    for table in (balance_table(found, width), counts_table(summary, width)):
        lines = shown(table, width).splitlines()
        assert any(line.startswith("glass ") for line in lines)
        assert max(map(len, lines)) <= width
        assert "\u2026" not in "".join(lines), "nothing is cut"
        whole = "".join(line[:12].rstrip() for line in lines)
        assert width > 80 or all(name[:11] in whole for name in NAMES)
    once = shown(balance_table(replace(found, folds=5), width), width).splitlines()[0]
    assert "in 5 folds" in once
    assert "val" not in once


def summary_of(splits: dict[str, tuple[int, ...]], folds: int = 0) -> DataSummary:
    counts = ClassCounts(NAMES, splits, folds)
    channels = (0.5, 0.5, 0.5)
    return DataSummary(counts, weigh_classes(counts), 64, "crop", channels, channels, None, ())


def test_each_image_of_folds_is_counted_once() -> None:
    lines = [*summary_lines(summary_of({"train": (34, 34, 34), "test": (5, 4, 3)}, folds=5))]
    assert lines[:2] == [
        "114 images (102 in 5 folds, 12 test) of 3 classes",
        "imbalance ratio 1 in the folds: 34 of each class",
    ]

import pytest

from orchestrator.terminal.data_tables import balance_verdict
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

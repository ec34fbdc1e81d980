import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.conditions import parse_condition
from search_spaces.errors import InvalidInput

ROW = {"architecture": "resnet18", "lr": 0.01, "epochs": 3, "patience": None, "ema": True, "val/recall/a b": 0.5}
NAMES = {*ROW, "trainable_stages"}


def holds(text: str, row: dict[str, Any] = ROW) -> bool:
    return parse_condition(text, NAMES, "--where")(row)


@pytest.mark.parametrize(
    "text",
    [
        "architecture=resnet18",
        "architecture==resnet18 and lr>1e-3",
        "lr=1e-2",
        "lr=0.01",
        "epochs=3.0",
        "epochs>=3 and epochs<=3 and not epochs<3",
        "architecture!=resnet50",
        "architecture=other or architecture=resnet18",
        "architecture=other and lr>1 or epochs=3",
        "not (architecture=other or lr>1)",
        "architecture = 'resnet18'",
        '"val/recall/a b" > 0.4',
        "patience=none",
        "ema=true",
    ],
)
def test_true(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "architecture=resnet18 and lr>1e-1",
        "architecture=resnet",
        "architecture=other and (lr>1 or epochs=3)",
        "lr='0.01'",
        "architecture>3",
        "ema>0",
        "patience<9",
        "trainable_stages=2",
        "trainable_stages!=2",
        "trainable_stages<2",
    ],
)
def test_false(text: str) -> None:
    assert not holds(text), "a row that lacks the name fulfils no comparison with it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("architectur=resnet18", "--where: unknown name 'architectur'; did you mean architecture?"),
        ("lr", "--where: must have a comparison after what it can read, got the end; write"),
        ("lr>", "must have a value after what it can read, got the end"),
        ("lr ~ 3", "must have a comparison after what it can read, got '~'"),
        ("lr (3", r"must have =, !=, <, <=, > or >= after what it can read, got '\('"),
        ("(lr>3", "must have a closing parenthesis after what it can read, got the end"),
        ("lr>3 epochs=3", "must have `and` or `or` after what it can read, got 'epochs'"),
        ("lr>3 and", "must have a name"),
        ("", "must have a name after what it can read, got the end"),
        ("lr>high", "--where: lr: must be compared with a number by >, got 'high'; use = or !="),
        ("lr='high", 'got "\'high"'),
        ("!", "--where: must be comparisons, got '!'; write"),
    ],
)
def test_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        holds(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_condition(text, NAMES, "--where")(ROW)
    except InvalidInput as error:
        assert str(error).startswith("--where: ")


SIGNS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([*SIGNS]), st.floats(-1e9, 1e9))
def test_numbers_compare_as_numbers(found: float, sign: str, value: float) -> None:
    assert holds(f"lr{sign}{value!r}", {"lr": found}) is SIGNS[sign](found, value)


def test_a_condition_may_be_long_but_not_deep() -> None:
    assert holds(" or ".join(["lr>1"] * 5000 + ["lr<1"]))
    assert not holds(" and ".join(["lr<1"] * 5000 + ["lr>1"]))
    assert holds("not (" * 20 + "lr<1" + ")" * 20)
    for deep in ("not " * 5000 + "lr>1", "(" * 5000 + "lr>1" + ")" * 5000):
        with pytest.raises(InvalidInput, match=r"--where: must nest `not` and parentheses at most 50 deep, got more"):
            holds(deep)

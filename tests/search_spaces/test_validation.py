from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from search_spaces.errors import InvalidInput
from search_spaces.none_and_auto import OrAuto, OrNone
from search_spaces.validation import parse


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    grace: int = Field(default=1, ge=1)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    probe: OrAuto[bool] = None
    limit: OrNone[Annotated[int, Field(ge=1)]] = None
    way: OrAuto[Literal["mean", "max"]] = None
    lr: float
    kind: Literal["tpe", "random", "grid"] = "tpe"
    inner: Annotated[Inner | None, "annotated"] = None

    @model_validator(mode="after")
    def _rule(self) -> "Outer":
        if self.lr == 13:
            raise ValueError("lr must not be 13, got 13; take another")
        return self


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "file: trial.lr: required, but not set; add it"),
        (
            {"lr": "fast"},
            "file: trial.lr: must be a number, got 'fast'; write one, without quotes",
        ),
        ({"lr": 1, "knd": "tpe"}, "file: trial.knd: unknown key; did you mean kind?"),
        (
            {"lr": 1, "kind": "tpee"},
            "file: trial.kind: must be one of tpe, random, grid, got 'tpee'; did you mean tpe?",
        ),
        ({"lr": 1, "inner": {"grce": 2}}, "file: trial.inner.grce: unknown key; did you mean grace?"),
        (
            {"lr": 1, "inner": {"grace": 0}},
            "file: trial.inner.grace: must be at least 1, got 0; raise it",
        ),
        (
            {"lr": 1, "probe": "perhaps"},
            "file: trial.probe: must be true or false, or auto, got 'perhaps'; write one, without quotes",
        ),
        ({"lr": 1, "limit": 0}, "file: trial.limit: must be at least 1, or none, got 0; raise it"),
        ({"lr": 1, "way": "men"}, "file: trial.way: must be one of mean, max, auto, got 'men'; did you mean mean?"),
        ({"lr": 13}, "file: lr must not be 13, got 13; take another"),
    ],
)
def test_messages_name_file_key_and_value(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(Outer, values, "file", lambda _key: "trial.")
    assert str(caught.value) == message


def test_every_error_is_told_a_line_each() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(Outer, {"lr": "x", "kind": "y", "z": 1}, "file")
    assert [line.split(":")[1].strip() for line in str(caught.value).splitlines()] == ["lr", "kind", "z"]


def test_valid_values_become_the_model() -> None:
    assert parse(Outer, {"lr": 1, "inner": {}}, "file") == Outer(lr=1.0, inner=Inner())

"""The cases of the field that pass as they are; those about one kind of file stand with that kind's tests."""

from collections.abc import Callable

import pytest
from field_cases import FieldCase


@pytest.mark.parametrize(
    ("name", "command", "code", "words"),
    [
        ("P01-roboflow-with-litter", ["data", "preview", "trial.yaml"], 0, ["2"]),
        ("P04-truncated-jpeg", ["data", "preview", "trial.yaml"], 2, [".jpg"]),
        ("P06-yaml-tabs", ["space", "s.yaml"], 2, ["s.yaml"]),
        ("P06-yaml-twice", ["space", "s.yaml"], 2, ["s.yaml"]),
        ("P06-yaml-typo", ["space", "s.yaml"], 2, ["did you mean"]),
    ],
)
def test_a_case_that_passes_goes_on_passing(
    field_case: Callable[[str], FieldCase], name: str, command: list[str], code: int, words: list[str]
) -> None:
    answer = field_case(name).thaw(*command)
    assert answer.code == code, answer.text
    assert [word for word in words if word not in answer.text] == []

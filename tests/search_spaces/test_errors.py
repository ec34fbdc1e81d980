import pytest

from search_spaces.errors import ExportRefused, InvalidInput, SweepFailed, ThawError, TrialFailed, closest


def test_bad_input_exits_with_2_and_everything_else_with_1() -> None:
    assert InvalidInput("x").exit_code == 2
    assert {kind("x").exit_code for kind in (ThawError, TrialFailed, SweepFailed, ExportRefused)} == {1}


@pytest.mark.parametrize("kind", [InvalidInput, TrialFailed, SweepFailed, ExportRefused])
def test_every_error_is_a_thaw_error(kind: type[ThawError]) -> None:
    assert issubclass(kind, ThawError)


def test_similar_names_are_offered_the_most_similar_first() -> None:
    assert closest("resnt50", ["vgg16", "resnet18", "resnet50"]) == "did you mean resnet50 or resnet18?"


def test_few_names_are_listed_when_none_is_similar() -> None:
    assert closest("zzz", ["int", "log"]) == "valid are int, log"


def test_many_names_are_counted_when_none_is_similar() -> None:
    assert closest("zzz", [f"name{n}" for n in range(20)]) == "there are 20 valid names, none is similar"

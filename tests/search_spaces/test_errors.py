import pytest

from search_spaces.errors import BadImages, ExportRefused, InvalidInput, SweepFailed, ThawError, TrialFailed, closest


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


def test_one_bad_image_is_its_own_message() -> None:
    assert str(BadImages({"a.jpg": "a.jpg: image must be complete"})) == (
        "a.jpg: image must be complete, or leave it out with `data.on_bad_image: skip`"
    )


def test_ten_bad_images_are_named_and_the_others_counted() -> None:
    error = BadImages({f"{number:02}.jpg": f"{number:02}.jpg: no image" for number in reversed(range(12))})
    assert "skip`; `thaw data preview FILE --format json` lists all\n  00.jpg: no image\n" in str(error)
    assert str(error).endswith("09.jpg: no image\n  and 2 more")
    assert len(error.faults) == 12

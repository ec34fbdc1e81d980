import pytest

from search_spaces.errors import InvalidInput
from search_spaces.validation import parse
from trainables.data_config import DataConfig


@pytest.mark.parametrize(("test", "splits"), [("auto", ("train", "val", "test")), ("none", ("train", "val"))])
def test_the_test_split_can_be_left_out(test: str, splits: tuple[str, ...]) -> None:
    assert parse(DataConfig, {"root": "photos", "test": test}, "file").splits == splits


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_pixels": 0}, "max_pixels: must be at least 1"),
        ({"max_pixels": 1e30}, "max_pixels"),
        ({"max_pixels": True}, "max_pixels: must be a whole number, got true; write one, without quotes"),
        ({"on_bad_image": "ignore"}, "on_bad_image: must be one of fail, skip"),
        ({"split": {"val": 0}}, r"split.val must be above 0"),
        ({"split": {"val": 0.5, "test": 0.5}}, r"split: val and test must leave images to train, got 0.5 and 0.5"),
        ({"split": {"validation": 0.2}}, r"split.validation: unknown key"),
        ({"on_bad_images": "skip"}, "did you mean on_bad_image"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse(DataConfig, {"root": "photos", **values}, "file")

import pytest

from search_spaces.errors import InvalidInput
from trainables.data.readers import open_dataset
from trainables.data.sources.class_names import alike_names, check_names, rename_remedy, written

COMPOSED, DECOMPOSED = "caf\xe9", "cafe\u0301"


@pytest.mark.parametrize("name", ["two\nlines", "a\r", "\n", "end\0", "a\u2028b", "\x85", "\x1b[31mred", "tab\t"])
def test_a_class_of_several_lines_is_refused(name):
    with pytest.raises(InvalidInput, match="the name of a class must be one line without control characters"):
        check_names("photos", ["cat", name], [])


@pytest.mark.parametrize("name", ["玻璃", "a b", "=1+1", "<b>", "-", "ü.ü", "\u200b"])
def test_other_odd_names_are_taken(name):
    check_names("photos", [name], [f"train/{name}/a.jpg"])


def test_a_name_that_is_not_utf8_is_refused_with_its_bytes(photos, write_image):
    image = write_image(photos / "val" / "cat" / "new.jpg")
    image.rename(image.with_name("caf\udce9.jpg"))
    with pytest.raises(InvalidInput, match=r"image must have a name in UTF-8, got 'val/cat/caf\\udce9.jpg'; rename"):
        open_dataset(photos)


def test_ten_names_that_are_not_utf8_are_named_and_the_others_counted():
    with pytest.raises(InvalidInput, match="and 2 more; rename them") as caught:
        check_names("photos", ["cat"], [f"{number}\udcff.jpg" for number in range(12)])
    str(caught.value).encode()


def test_names_that_look_alike_are_told_apart():
    (remark,) = alike_names([COMPOSED, DECOMPOSED, "dog"])
    assert "'caf\\xe9'" in remark
    assert "'cafe\\u0301'" in remark
    assert alike_names(["Cat", "cat", "dog"])[0].startswith("the classes Cat and cat differ only in capitals")
    assert "'cat' and 'cat '" in alike_names(["cat", "cat "])[0]
    assert alike_names(["cat", "cats", "dog"]) == []


def test_the_remedy_shows_the_difference():
    assert rename_remedy(DECOMPOSED, ["dog", COMPOSED]).startswith("'cafe\\u0301' and 'caf\\xe9' of train differ only")
    assert rename_remedy("Cat", ["cat", "dog"]).startswith("Cat and cat of train differ only in capitals")
    assert rename_remedy("cats", ["cat", "dog"]) == "add images of it to train, or rename it (did you mean cat?)"


def test_names_that_differ_to_the_eye_are_written_as_they_are():
    assert written(["玻璃", "glass"]) == ["玻璃", "glass"]
    assert written(["a\xa0b", "a b"]) == ["'a\\xa0b'", "'a b'"]

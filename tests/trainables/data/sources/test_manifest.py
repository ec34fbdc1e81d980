from pathlib import Path

import pytest

from search_spaces.errors import InvalidInput
from trainables.data.fingerprint import examine_content
from trainables.data.readers import Sample, open_dataset

HEADER = "path,label,split\n"


@pytest.fixture
def images(tmp_path, write_image) -> Path:
    root = tmp_path / "images"
    for name in "abcd":
        write_image(root / f"{name}.png")
    write_image(root / "deep" / "e.jpg").rename(root / "deep" / "ejpg")
    return root


def _open(root: Path, text: str, encoding: str = "utf-8"):
    manifest = root.parent / "manifest.csv"
    manifest.write_text(text, encoding=encoding)
    return open_dataset(root, manifest)


def test_a_manifest_is_listed_in_order_of_path(images):
    text = "note,split,label,path\nx,train,dog,b.png\n,train,cat,./a.png\n,val,dog,deep/ejpg\n"
    dataset = _open(images, text)
    assert dataset.classes == ("cat", "dog")
    assert dataset.splits == {
        "train": (Sample("a.png", 0), Sample("b.png", 1)),
        "val": (Sample("deep/ejpg", 1),),
    }
    assert dataset.read(dataset.splits["val"][0]) == (images / "deep" / "ejpg").read_bytes()


def test_a_manifest_saved_by_a_spreadsheet(images):
    text = "path,label,split\r\na.png,cat,train\r\nb.png,dog,train\r\nc.png,cat,val\r\n"
    assert len(_open(images, text, encoding="utf-8-sig").splits["train"]) == 2


def test_unicode_text_of_a_spreadsheet_and_paths_from_the_root_of_the_disk(images):
    rows = [f"{images / 'a.png'}\tcat\ttrain", "b.png\tdog\ttrain", f"{images / 'c.png'}\tcat\tdev"]
    text = "\n".join(["path\tlabel\tsplit", *rows, ""])
    for encoding in ("utf-16", "utf-8"):
        dataset = _open(images, text, encoding)
        assert [sample.path for sample in dataset.splits["train"]] == ["a.png", "b.png"]
        assert dataset.splits["val"] == (Sample("c.png", 0),)


GOOD = HEADER + "a.png,cat,train\nb.png,dog,train\nc.png,cat,val\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"manifest.csv: a manifest needs the columns path, label, split, got none"),
        ("file,label\na.png,cat\n", r"needs the columns path, label, split, got file, label; add split to"),
        (HEADER, r"manifest.csv: a manifest must list images, got a header alone"),
        (
            GOOD + "d.png,cat,holdout\n",
            r"manifest.csv:5: split must be one of train, val, test, got 'holdout'; choose one",
        ),
        (GOOD + "d.png,cat,val,black\n", r"manifest.csv:5: a row must not have more fields than the 3 columns, got 4;"),
        (GOOD + "d.png,cat,vall\n", r"split must be one of train, val, test, got 'vall'; did you mean val\?"),
        (
            GOOD + "d.png,nan,train\n",
            r"manifest.csv:5: label must not be empty, got 'nan'; name the class of d.png, or",
        ),
        (GOOD + "d.png,NaN,train\n", r"label must not be empty, got 'NaN'"),
        (GOOD + "..\\d.png,cat,train\n", r"lie inside it, got '..\\\\d.png'; write it as seen from"),
        (GOOD + "C:\\d.png,cat,train\n", r"lie inside it, got 'C:\\\\d.png'; write it as seen from"),
        (
            GOOD + 'd.png,"a\nb",train\n',
            r"the name of a class must be one line without control characters, got 'a\\nb'; rename",
        ),
        (
            GOOD + "d.png,a\0b,train\n",
            r"the name of a class must be one line without control characters, got 'a\\x00b'; rename",
        ),
        (GOOD + "d.png,cat\n", r"manifest.csv:5: split must be one of .* in every row, got none; fill it in"),
        (GOOD + "d.png,,train\n", r"manifest.csv:5: label must not be empty"),
        (GOOD + "/d.png,cat,train\n", r"manifest.csv:5: path must be relative to data.root .* got '/d.png'"),
        (GOOD + "../d.png,cat,train\n", r"lie inside it, got '../d.png'; write it as seen from"),
        (GOOD + ",cat,train\n", r"path must be relative to data.root"),
        (GOOD + "./a.png,cat,val\n", r"a path must be listed once, got a.png twice; keep one"),
        (
            GOOD + "x.png,cat,val\ny.png,cat,val\n",
            r"every path must be a file under .*images, got none at x.png, y.png",
        ),
        (
            GOOD + "".join(f"x{number}.png,cat,val\n" for number in range(9)),
            r"got none at x0.png, x1.png, x2.png and 6 more",
        ),
        (HEADER + "a.png,cat,train\nb.png,dog,train\n", r"manifest.csv: split val must hold images, got none"),
        (HEADER + "a.png,cat,train\nc.png,cat,val\n", r"at least two classes, got one \(cat\)"),
        (GOOD + "d.png,fox,val\n", r"every class of val must also be in train, got fox"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(images, text, message):
    with pytest.raises(InvalidInput, match=message):
        _open(images, text)


def test_a_manifest_that_is_no_text_or_not_there(images):
    with pytest.raises(InvalidInput, match=r"manifest.csv: data.manifest must be a CSV file in UTF-8"):
        _open(images, HEADER + "a.png,caf\xe9,train\n", encoding="latin-1")
    with pytest.raises(InvalidInput, match=r"nowhere.csv: data.manifest must be a readable CSV file"):
        open_dataset(images, images / "nowhere.csv")


@pytest.mark.parametrize("word", ["val", "valid", "validation", "Val", "VALIDATION"])
def test_other_words_for_a_split(images, word):
    text = HEADER + f"a.png,cat,Train\nb.png,dog,training\nc.png,cat,{word}\nd.png,dog,testing\n"
    assert {split: len(samples) for split, samples in _open(images, text).splits.items()} == {
        "train": 2,
        "val": 1,
        "test": 1,
    }


def test_backslashes_separate_folders_unless_a_file_has_them(images):
    (images / "a.png").rename(images / "a\\b.png")
    dataset = _open(images, HEADER + "a\\b.png,cat,train\nb.png,dog,train\ndeep\\ejpg,cat,val\n")
    assert [sample.path for sample in dataset.splits["train"]] == ["a\\b.png", "b.png"]
    assert [sample.path for sample in dataset.splits["val"]] == ["deep/ejpg"]


def test_the_fingerprint_does_not_depend_on_how_the_table_is_written(images, tmp_path):
    texts = [GOOD, GOOD.replace(",", ";"), GOOD.replace(HEADER, "Filename,class,set\n").replace("train", "Train")]
    assert len({examine_content(_open(images, text), tmp_path / "cache").fingerprints for text in texts}) == 1


def test_test_can_be_left_out(images):
    (images.parent / "m.csv").write_text(GOOD + "d.png,fox,test\n")
    assert list(open_dataset(images, images.parent / "m.csv", ("train", "val")).splits) == ["train", "val"]

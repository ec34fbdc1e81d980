from pathlib import Path

import pytest

from search_spaces.errors import InvalidInput
from trainables.data.readers import open_dataset
from trainables.data.sources.image_folder import read_image_folder
from trainables.data.sources.listing import Listing
from trainables.data_config import SplitShares

NAMES = ("a.png", "b.png", "c.png", "d.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("train", "validation"):
        (tmp_path / folder).mkdir()
        for name in NAMES:
            (tmp_path / folder / name).write_bytes(folder.encode() + name.encode())
    return tmp_path


def _read(root: Path, *, divided: bool = False) -> Listing:
    return read_image_folder(root, ("train", "val", "test"), divided=divided)


def test_metadata_in_each_split_are_recognized(root: Path) -> None:
    for folder in ("train", "validation"):
        (root / folder / "metadata.csv").write_text("file_name,Class,note\na.png,cat,x\nb.png,dog,\n")
    found = open_dataset(root)
    assert found.classes == ("cat", "dog")
    assert [sample.path for sample in found.splits["val"]] == ["validation/a.png", "validation/b.png"]
    assert found.remarks == (f"{root}: 4 files left out (4 images that are not in metadata.csv)",)


def test_splits_are_those_of_a_column_or_of_the_first_folder(root: Path) -> None:
    lines = [
        f"{folder}/{name},{label}"
        for folder in ("train", "validation")
        for name, label in zip(NAMES, "xyxy", strict=True)
    ]
    (root / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    by_folder = _read(root).entries
    assert {split: len(pairs) for split, pairs in by_folder.items()} == {"train": 4, "val": 4}
    wanted = ["val" if line.startswith("train") else "Train" for line in lines]
    rows = [f"{line},{split}" for line, split in zip(lines, wanted, strict=True)]
    (root / "metadata.csv").write_text("\n".join(["file_name,label,split", *rows]))
    assert _read(root).entries == {"val": by_folder["train"], "train": by_folder["val"]}


def test_images_in_no_split_are_divided(root: Path) -> None:
    (root / "validation").rename(root / "more")
    (root / "train").rename(root / "photos")
    rows = [
        f'{{"file_name": "{folder}/{name}", "label": {len(folder)}}}' for folder in ("photos", "more") for name in NAMES
    ]
    (root / "metadata.jsonl").write_text("\n".join(rows) + "\n\n")
    with pytest.raises(InvalidInput, match=r"every image must be in a split, got neither .*; add the column, or set"):
        _read(root)
    found = open_dataset(root, shares=SplitShares(val=0.25), format="huggingface")
    assert found.classes == ("4", "6")
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 6, "val": 2}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "csv",
            "file_names,label\na,b\n",
            r"every row must be one image, got the column file_names, which lists several",
        ),
        (
            "csv",
            "image_file_name,label\na,b\n",
            r"metadata need the column file_name, got image_file_name, label; rename",
        ),
        (
            "csv",
            "file_name,caption\na.png,x\n",
            r"metadata need one column label, got none among file_name, caption; add",
        ),
        (
            "csv",
            "file_name,target,class\na,b,c\n",
            r"metadata need one column label, got target and class; add it or rename",
        ),
        ("csv", "file_name,label,set,subset\na,b,c,d\n", r"column split must be one, got set and subset; remove one"),
        ("csv", "file_name,label\n", r"metadata must list images, got no rows"),
        ("jsonl", "\n", r"metadata must list images, got no rows; add one row per image"),
        (
            "csv",
            "file_name,label,split\ntrain/a.png,x,learn\n",
            r"metadata.csv:2: split must be one of train, val, test",
        ),
        ("csv", "file_name,label\ntrain/z.png,x\n", r"every path must be a file under .*got none at train/z.png"),
        (
            "csv",
            "file_name,label\ntrain/../../a.png,x\n",
            r"metadata.csv:2: path must be relative to data.root and lie",
        ),
        ("csv", "file_name,label\ntrain/a.png,x\nb.png,y\n", r"metadata.csv:3: split must be one of .*, got none"),
        ("csv", "file_name,label\ntrain/a.png,\n", r"metadata.csv:2: label must not be empty"),
        ("jsonl", '{"file_name": "train/a.png", "label": null}', r"metadata.jsonl:1: label must not be empty"),
        *(
            (
                "jsonl",
                f'{{"file_name": "train/a.png", "label": {value}}}',
                rf"jsonl:1: label must hold one class .*got {got}",
            )
            for value, got in (('{"a": 1}', "{'a': 1}"), ('["x"]', r"\['x'\]"), ("true", "True"), ("1.0", "1.0"))
        ),
        ("jsonl", '{"file_name": 7, "label": 1}', r"jsonl:1: file_name must be a text, .*got 7; write it as seen from"),
        (
            "jsonl",
            '{"file_name": "a.png", "label": 1}\n{"file_name": "../x.jpg", "label": 1}',
            r"jsonl:2: path must be .* inside it, got '../x.jpg'; write it as seen from",
        ),
        (
            "csv",
            'file_name,label\n"train/a.png,x\ntrain/b.png,y\n',
            r"csv:2: a field that begins with a quotation mark",
        ),
        ("jsonl", '{"file_name"', r"metadata.jsonl:1: each line must be JSON, got .*; write one"),
        ("jsonl", "[1]", r"metadata.jsonl:1: each line must be an object \{...\}, got \[1\]"),
        ("jsonl", "\xff", r"metadata must be in UTF-8, got"),
    ],
)
def test_what_cannot_be_read_is_refused(root: Path, name: str, text: str, said: str) -> None:
    (root / f"metadata.{name}").write_text(text, encoding="latin1")
    with pytest.raises(InvalidInput, match=said):
        _read(root)


def test_two_metadata_are_refused(root: Path) -> None:
    for name in ("csv", "jsonl"):
        (root / f"metadata.{name}").touch()
    with pytest.raises(InvalidInput, match=r"metadata must be one file, got metadata.csv and metadata.jsonl; remove"):
        _read(root)


def test_a_class_may_be_missing_where_the_split_is_not_used(root: Path) -> None:
    rows = [("train/a.png", '"cat"'), ("train/b.png", "2"), ("validation/a.png", '"dog"'), ("test/a.png", "NaN")]
    (root / "metadata.jsonl").write_text(
        "".join(f'{{"file_name": "{name}", "label": {label}, "boxes": [[1, 2]]}}\n' for name, label in rows)
    )
    entries = read_image_folder(root, ("train", "val"), divided=False).entries
    assert entries == {"train": [("train/a.png", "cat"), ("train/b.png", "2")], "val": [("validation/a.png", "dog")]}
    with pytest.raises(InvalidInput, match=r"metadata.jsonl:4: label must not be empty, got 'nan'"):
        _read(root)

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from search_spaces.errors import InvalidInput
from trainables.data.sources.listing import Listing
from trainables.data.sources.parquet_files import read_parquet
from trainables.data.sources.source_files import DiskFiles


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


PNG = _png()


def _write(path: Path, columns: dict[str, list[Any]], features: dict[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def _read(root: Path, *used: str) -> Listing:
    return read_parquet(DiskFiles(root), used or ("train", "val", "test"), root.with_name("cache"))


def _image(path: str | None = "a.png") -> dict[str, Any]:
    return {"bytes": PNG, "path": path}


def test_classes_are_those_of_the_schema(tmp_path: Path) -> None:
    root = tmp_path / "set"
    features = {"image": {"_type": "Image"}, "kind": {"_type": "ClassLabel", "names": ["cat", "dog/wolf"]}}
    _write(root / "data" / "train-00000-of-00001.parquet", {"image": [_image(), _image()], "kind": [1, 0]}, features)
    _write(root / "data" / "test-00000-of-00001.parquet", {"image": [_image()], "kind": [-1]}, features)
    found = _read(root, "train", "val")
    assert found.entries == {"train": [("train/dog%2Fwolf/a.png", "dog/wolf"), ("train/cat/a.png", "cat")]}
    assert found.origin is not None
    assert [path.name for path in found.origin.containers] == ["train-00000-of-00001.parquet"]
    with pytest.raises(InvalidInput, match=r"row 0: label must be a number from 0 to 1, got -1; .*`data.test: none`"):
        _read(root)


def test_files_of_other_writers_are_read_by_usual_words(tmp_path: Path) -> None:
    root = tmp_path / "set"
    _write(root / "train.parquet", {"picture": [PNG, b"odd"], "Class": ["cat", " dog "], "id": [1, 2]})
    _write(root / "validation" / "0.parquet", {"image": [_image(None)], "label": [12]})
    assert _read(root).entries == {
        "train": [("train/cat/000000.png", "cat"), ("train/dog/000001", "dog")],
        "val": [("val/12/000000.png", "12")],
    }


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"label": [0]},
            r"must have one column of images \(\{bytes, path\}\), got none among label; name the right one",
        ),
        ({"image": [PNG]}, r"must have one column of classes, got none among image"),
        ({"a": [PNG], "b": [PNG], "label": [0]}, r"one column of images .*, got a and b among a, b, label"),
        (
            {"image": [{"bytes": None, "path": "a.png"}, _image()], "label": [0, 0]},
            r"every image must be in the file, got",
        ),
        ({"image": [PNG], "label": [None]}, r"row 0: label must be a name or a number, got None"),
        ({"image": [PNG], "label": [""]}, r"row 0: label must be a name or a number, got ''"),
        ({"image": [PNG], "label": [1.5]}, r"row 0: label must be a name or a number, got 1.5"),
        (
            {"image": [_image("../a.png")], "label": [1]},
            r"every file must have a name that stays within, got '../a.png'",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, columns: dict[str, list[Any]], said: str) -> None:
    _write(tmp_path / "set" / "train.parquet", columns)
    with pytest.raises(InvalidInput, match=said):
        _read(tmp_path / "set")


def test_several_classes_need_one_that_is_named_label(tmp_path: Path) -> None:
    kind = {"_type": "ClassLabel", "names": ["x", "y"]}
    path = tmp_path / "set" / "train.parquet"
    columns = {"img": [PNG], "coarse": [0], "fine": [1]}
    _write(path, columns, {"coarse": kind, "fine": kind})
    with pytest.raises(InvalidInput, match=r"one column of classes, got none among img, coarse, fine"):
        _read(tmp_path / "set")
    _write(path, {**columns, "label": [1]}, {"coarse": kind, "fine": kind, "label": kind})
    assert _read(tmp_path / "set").entries == {"train": [("train/y/000000.png", "y")]}


def test_two_numbers_of_one_class_are_refused(tmp_path: Path) -> None:
    kind = {"_type": "ClassLabel", "names": ["x", "x", "y"]}
    _write(tmp_path / "set" / "train.parquet", {"image": [PNG], "label": [0]}, {"label": kind})
    with pytest.raises(InvalidInput, match=r"ClassLabel of label: every class must have a name .*got 'x' for 0 and 1"):
        _read(tmp_path / "set")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "set" / "train.parquet", {"image": [PNG] * 50, "label": [0] * 50})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInput, match=r"train.parquet: must be a whole file of its format, got: "):
        _read(tmp_path / "set")
    _write(path, {"image": [PNG], "label": [0]}, {"label": None})
    pq.write_table(pa.table({"image": [PNG], "label": [0]}).replace_schema_metadata({"huggingface": "{"}), path)
    with pytest.raises(InvalidInput, match=r"metadata huggingface must be a JSON document with info.features, got"):
        _read(tmp_path / "set")

"""Manifests and folders that say how a data set is divided."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import pytest

from search_spaces.errors import InvalidInput
from trainables.data.readers import Dataset, open_dataset
from trainables.data.split.files import check_new, write_folder, write_manifest
from trainables.data_config import SplitShares


def divided(root: Path, manifest: Path | None = None) -> Dataset:
    return open_dataset(root, manifest, shares=SplitShares(val=0.2, test=0.2), anew=True)


def contents(dataset: Dataset) -> dict[str, Counter[tuple[str, bytes]]]:
    return {
        split: Counter((dataset.classes[sample.label], dataset.read(sample)) for sample in samples)
        for split, samples in dataset.splits.items()
    }


@pytest.fixture
def named_alike(tmp_path: Path, write_image) -> Path:
    """Photos of two classes in splits, some with the same name in each."""
    for label in ("cat", "dog, wet"):
        for split in ("train", "val", "test"):
            for name in ("1.png", f"{split}.png"):
                write_image(tmp_path / "photos" / split / label / name, (9 + len(label), 8 + len(split)))
    return tmp_path / "photos"


@pytest.mark.parametrize("copy", [False, True])
def test_a_folder_is_read_as_it_was_divided(named_alike: Path, tmp_path: Path, copy: bool) -> None:
    dataset = divided(named_alike)
    write_folder(dataset, tmp_path / "out" / "new", copy=copy)
    written = open_dataset(tmp_path / "out" / "new")
    assert contents(written) == contents(dataset)
    files = list((tmp_path / "out").rglob("*.png"))
    assert all(path.is_symlink() is not copy for path in files)
    assert {path.name for path in files} >= {"train.png", "train_cat_1.png", "val_dog, wet_1.png"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    if not copy:
        shutil.move(tmp_path / "out", tmp_path / "elsewhere")
        shutil.move(tmp_path / "elsewhere", tmp_path / "beside")
        assert contents(open_dataset(tmp_path / "beside" / "new")) == contents(dataset), "the links are relative"


def test_a_manifest_is_read_as_it_was_divided(named_alike: Path, tmp_path: Path) -> None:
    dataset = divided(named_alike)
    write_manifest(dataset, tmp_path / "new.csv")
    assert open_dataset(named_alike, tmp_path / "new.csv").splits == dataset.splits
    with (tmp_path / "new.csv").open(newline="") as file:
        assert next(iter(csv.DictReader(file))).keys() == {"path", "label", "split"}
    again = divided(named_alike, tmp_path / "new.csv")
    assert again.splits == dataset.splits, "divided anew alike"


def test_what_is_there_is_left(named_alike: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"--out: must not exist yet, but .*photos does"):
        check_new(named_alike)
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InvalidInput, match="--out: must not exist yet"):
        check_new(tmp_path / "link")


def test_writing_that_stops_leaves_nothing(named_alike: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "copy2", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_folder(divided(named_alike), tmp_path / "new", copy=True)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(
    ("label", "name", "message"),
    [
        ("a/b", "1.png", "a class must have the name of a folder, got 'a/b'; write a manifest"),
        ("cat", "1.scan", "folders must be read as they are written, .* no usual ending"),
        (".cat", "1.png", "folders must be read as they are written"),
    ],
)
def test_a_folder_that_would_be_read_otherwise_is_refused(
    tmp_path: Path, write_image, label: str, name: str, message: str
) -> None:
    photos, rows = tmp_path / "photos", ["path,label"]
    for number in range(4):
        image = write_image(photos / f"{number}{name}.png")
        image.rename(photos / f"{number}{name}")
        rows += [f"{number}{name},{label}", f"dog{number}.png,dog"]
        write_image(photos / f"dog{number}.png")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    dataset = divided(photos, tmp_path / "m.csv")
    with pytest.raises(InvalidInput, match=message):
        write_folder(dataset, tmp_path / "new", copy=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.csv", "photos"]
    write_manifest(dataset, tmp_path / "new.csv")

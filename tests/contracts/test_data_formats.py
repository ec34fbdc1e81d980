"""Every reader: the same photos give the same classes, splits, fingerprints and trial, to the last digit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from data_formats import FORMATS, write_folders

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data.fingerprint import examine_content
from trainables.data.readers import open_configured
from trainables.data_config import DataConfig
from trainables.loop.train import train
from trainables.storage.bucket import BucketPath
from trainables.storage.folders import TrialFolders

SPLIT = {"train": 8, "val": 4, "test": 2}
SHARES = {"val": 0.2, "test": 0.1}


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[True, False], ids=["split", "to be divided"])
def photos(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Folders of photos, and the settings of `data` with which they are read."""
    if request.param:
        return write_folders(tmp_path / "folders", SPLIT), {}
    return write_folders(tmp_path / "folders", {"": 12}), {"split": SHARES}


def _seen(data: DataConfig, cache: Path) -> tuple[Any, ...]:
    dataset = open_configured(data, cache)
    content = examine_content(dataset, cache)
    return content.dataset.classes, content.dataset.splits, content.fingerprints


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_read_as_folders_are(photos: tuple[Path, dict[str, Any]], name: str, tmp_path: Path) -> None:
    root, settings = photos
    added = FORMATS[name](root, tmp_path / "other")
    data = DataConfig(root=tmp_path / "other", **settings, **added)
    expected = _seen(DataConfig(root=root, **settings), tmp_path / "cache")
    assert _seen(data, tmp_path / "cache") == expected
    assert _seen(data, tmp_path / "cache") == expected, "from the copy"


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_read_from_a_bucket(
    photos: tuple[Path, dict[str, Any]], name: str, tmp_path: Path, bucket: str
) -> None:
    root, settings = photos
    added = FORMATS[name](root, tmp_path / "other")
    upload(tmp_path / "other", BucketPath.parse(f"{bucket}/deep/photos"))
    if "manifest" in added:
        added["manifest"] = f"{bucket}/deep/photos/{added['manifest'].name}"
    data = DataConfig(root=f"{bucket}/deep/photos", **settings, **added)
    assert _seen(data, tmp_path / "cache") == _seen(DataConfig(root=root, **settings), tmp_path / "cache")
    assert open_configured(data, tmp_path / "cache").named("a.png") == f"{bucket}/deep/photos/a.png"


def upload(folder: Path, place: BucketPath) -> None:
    """Put the files of a folder into a bucket."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            (place / path.relative_to(folder).as_posix()).write_bytes(path.read_bytes())


def test_a_trial_is_the_same_to_the_last_digit(tmp_path: Path, one_thread: None) -> None:
    root = write_folders(tmp_path / "folders", SPLIT)
    said = []
    for name in ("folders", "metadata.csv", "parquet", "shards"):
        added = FORMATS[name](root, tmp_path / name)
        values = {"architecture": "test_efficientnet", "weights": "none", "strategy": "full", "epochs": 1, "lr": 0.01}
        data = {"root": tmp_path / name, "image_size": 32, **added}
        config = TrialConfig.from_mapping({"data": data, **values}, "test")
        folders = TrialFolders(tmp_path / f"{name}-out", tmp_path / f"{name}.parquet", tmp_path / "cache")
        said.append([report.metrics for report in train(config, folders)])
        assert not (tmp_path / name / "files").exists()
    assert all(metrics == said[0] for metrics in said)


@pytest.mark.parametrize(
    ("format", "needs"),
    [
        ("folders", r"folder train/ is required, got no folders; expected are the folders"),
        ("huggingface", r"needs metadata.csv or metadata.jsonl beside the images.*got none; write one"),
        ("parquet", r"needs files like train-00000-of-00001.parquet.*got none; check data.root"),
        ("webdataset", r"needs tar shards, as train-000000.tar.*got none; check data.root"),
    ],
)
def test_a_format_that_is_not_there_says_what_is_expected(tmp_path: Path, format: Any, needs: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InvalidInput, match=needs):
        open_configured(DataConfig(root=tmp_path, format=format), tmp_path / "cache")


def test_a_manifest_is_a_format_of_its_own() -> None:
    for settings in ({"format": "manifest"}, {"format": "folders", "manifest": "all.csv"}):
        with pytest.raises(ValueError, match=r"data.format manifest and data.manifest must stand together, got"):
            DataConfig.model_validate({"root": "photos", **settings})


def test_folders_come_before_metadata_beside_them(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "folders", SPLIT)
    before = open_configured(DataConfig(root=root), tmp_path)
    rows = [{"file_name": f"train/{label}/{index}.png", "label": "x"} for label in ("cat", "dog") for index in range(2)]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = open_configured(DataConfig(root=root), tmp_path)
    assert found == before
    assert "folders are taken for the classes, and metadata.jsonl is not read: set data.format" in found.remarks[-1]
    assert not any(
        "metadata" in each for each in open_configured(DataConfig(root=root, format="folders"), tmp_path).remarks[1:]
    )

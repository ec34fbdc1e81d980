import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.spec.named_data import read_named_data
from search_spaces.errors import InvalidInput
from trainables.data.readers import open_configured
from trainables.data_config import SplitShares

NEAR = SplitShares(val=0.15, test=0.15, together="near_duplicates")


@pytest.fixture
def pooled(tmp_path: Path) -> Path:
    """Photos in class folders without splits."""
    for name in ("a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", "b/3.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    return tmp_path / "photos"


def manifest(photos: Path, **splits: str) -> Path:
    path = photos / "list.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", *(["split"] if splits else [])])
        for each in sorted(photos.rglob("*.png")):
            table.writerow(
                [each.relative_to(photos), each.parent.name, *([splits.get(each.stem, "train")] if splits else [])]
            )
    return path


def test_a_folder_of_classes_is_divided(pooled: Path) -> None:
    found = read_named_data(pooled)
    assert (found.data.root, found.data.split, found.is_sweep) == (pooled, NEAR, False)
    assert "image_size" not in found.settings
    own = read_named_data(pooled, ["data.image_size=48", "data.split.test=0"])
    assert (own.data.image_size, own.data.split) == (48, NEAR.model_copy(update={"test": 0.0}))
    assert "image_size" in own.settings


@pytest.mark.parametrize(
    ("splits", "shares"),
    [
        ({}, NEAR),
        ({"1": "train"}, NEAR),
        ({"1": "testing"}, NEAR.model_copy(update={"test": 0.0})),
        ({"1": "valid"}, None),
    ],
)
def test_a_manifest_is_divided_where_it_lacks_splits(
    splits: dict[str, str], shares: SplitShares | None, pooled: Path
) -> None:
    found = read_named_data(manifest(pooled, **splits))
    assert (found.data.root, found.data.manifest, found.data.split) == (pooled, pooled / "list.csv", shares)
    assert open_configured(found.data, Path("cache")).classes == ("a", "b")


def test_a_sweep_file_is_taken_as_it_is(write_sweep: Callable[..., Path], tmp_path: Path, digits: Path) -> None:
    file = write_sweep(tmp_path, storage={"cache_dir": "own"})
    found = read_named_data(file, ["data.image_size=48"], tmp_path / "weights")
    assert (found.data.root, found.data.image_size) == (digits, 48)
    assert (found.data.weights_dir, found.cache) == (tmp_path / "weights", tmp_path / "own")
    assert {config.data.image_size for config in found.configs} == {48}


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("nowhere", [], "must be a folder of images, a manifest or a sweep file, got nothing there"),
        ("nowhere.yaml", [], "file must exist, but there is none"),
        ("photos", ["trial.epochs=3"], "photos have settings of `data` alone, got trial"),
        ("photos", ["data.image_sise=3"], "data.image_sise: unknown key; did you mean image_size"),
    ],
)
def test_other_things_are_refused(name: str, overrides: list[str], message: str, pooled: Path) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_named_data(pooled.parent / name, overrides)

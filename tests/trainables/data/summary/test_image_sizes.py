from pathlib import Path

import pytest
from PIL import Image

from trainables.data.readers import open_dataset
from trainables.data.summary.image_sizes import read_sizes


def write(path: Path, width: int, height: int, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (width, height)).save(path, exif=exif)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, split in enumerate(("train", "val")):
        for label in "ab":
            write(tmp_path / split / label / "wide.jpg", 40 + number, 20)
            write(tmp_path / split / label / "turned.jpg", 60, 30, orientation=6)
    return tmp_path


def test_sizes_are_those_of_the_upright_photos(photos: Path) -> None:
    found = read_sizes(open_dataset(photos))
    assert found is not None
    assert (found.images, found.width, found.height) == (8, (30, 30, 30, 41, 41), (20, 20, 20, 60, 60))
    assert (found.shorter, found.aspect.median) == ((20, 20, 20, 30, 30), 2)


def test_photos_of_folds_are_read_once(photos: Path) -> None:
    found = read_sizes(open_dataset(photos, folds=2))
    assert found is not None
    assert found.images == 8


def test_a_file_without_a_header_has_no_size(photos: Path) -> None:
    for path in photos.rglob("*.jpg"):
        path.write_bytes(b"no image" * (path.name == "wide.jpg") or path.read_bytes()[:30])
    assert read_sizes(open_dataset(photos)) is None


def test_a_sample_is_spread_over_the_data_set(photos: Path) -> None:
    found = read_sizes(open_dataset(photos), most=2)
    assert found is not None
    assert found.images == 2

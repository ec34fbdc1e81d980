"""Real image files for the tests of `trainables/data`."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def odd_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    default = Path(__file__).resolve().parents[3].parent / "shared"
    archive = Path(os.environ.get("THAW_TEST_ASSETS", default)) / "data" / "odd_files.tar"
    if not archive.is_file():
        pytest.skip(f"no {archive}; set THAW_TEST_ASSETS to the folder that holds data/odd_files.tar")
    folder = tmp_path_factory.mktemp("odd_files")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "odd"


@pytest.fixture
def write_image() -> Write:
    """Write an image of noise that depends on the file's name: PNG, JPEG ... by the ending."""

    def write(path: Path, size: tuple[int, int] = (12, 10)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = np.frombuffer(path.name.encode(), dtype=np.uint8)
        noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        return path

    return write


@pytest.fixture
def photos(tmp_path: Path, write_image: Write) -> Path:
    """An image folder: cat and dog, 4 + 3 images in train, 1 + 1 in val and in test, JPEG and PNG."""
    root = tmp_path / "photos"
    for split, counts in {"train": (4, 3), "val": (1, 1), "test": (1, 1)}.items():
        for name, count in zip(("cat", "dog"), counts, strict=True):
            for number in range(count):
                ending = "png" if number % 2 else "jpg"
                write_image(root / split / name / f"{split}_{name}_{number}.{ending}")
    return root

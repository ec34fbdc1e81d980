from pathlib import Path

import numpy as np
import pytest

from search_spaces.errors import InvalidInput
from trainables.config import DataConfig
from trainables.data.arrays import load_arrays
from trainables.data.fingerprint import fingerprint


def config(root: Path) -> DataConfig:
    return DataConfig(root=root, image_size=16, resize_mode="squash")


def test_images_and_labels_of_the_splits_asked_for(photos: Path, tmp_path: Path) -> None:
    arrays = load_arrays(config(photos), tmp_path)
    assert list(arrays.splits) == ["train", "val"]
    assert arrays.classes == ("cat", "dog")
    assert arrays.fingerprint == fingerprint(arrays.dataset, tmp_path)
    for name, split in arrays.splits.items():
        assert split.images.shape == (len(split), 16, 16, 3)
        assert split.images.dtype == np.uint8
        np.testing.assert_array_equal(split.labels, arrays.dataset.labels(name))
    assert list(load_arrays(config(photos), tmp_path, ["test"]).splits) == ["test"]


def test_images_are_decoded_once_and_nobody_writes_them(photos: Path, tmp_path: Path) -> None:
    decoded: list[tuple[int, int]] = []
    first = load_arrays(config(photos), tmp_path, on_progress=lambda done, total: decoded.append((done, total)))
    assert decoded == [*((i, 7) for i in range(1, 8)), (1, 2), (2, 2)]
    second = load_arrays(config(photos), tmp_path, on_progress=lambda *_: pytest.fail("decoded again"))
    np.testing.assert_array_equal(first.splits["train"].images, second.splits["train"].images)
    with pytest.raises(ValueError, match="read-only"):
        second.splits["train"].images[0] = 0


def test_a_split_that_is_not_there(photos: Path, tmp_path: Path) -> None:
    (photos / "test").rename(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="split must be one of train, val, got 'test'; choose one of them"):
        load_arrays(config(photos), tmp_path, ["test"])

from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces.errors import InvalidInput
from trainables.config import DataConfig
from trainables.data.arrays import decode_rest, load_arrays
from trainables.data.fingerprint import fingerprints
from trainables.data.lazy_images import LazyImages

CPU = torch.device("cpu")


def config(root: Path) -> DataConfig:
    return DataConfig(root=root, image_size=16, resize_mode="squash")


def test_images_of_the_splits_asked_for(photos: Path, tmp_path: Path) -> None:
    arrays = load_arrays(config(photos), tmp_path)
    assert list(arrays.splits) == ["train", "val"]
    assert arrays.classes == ("cat", "dog")
    assert arrays.fingerprints == fingerprints(arrays.dataset, tmp_path)
    for name, split in arrays.splits.items():
        assert split.images.shape == (len(split), 16, 16, 3)
        assert split.images.dtype == np.uint8
        assert len(split) == len(arrays.dataset.splits[name])
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


def test_images_beyond_the_budget_are_decoded_for_each_batch(photos: Path, tmp_path: Path) -> None:
    expected = load_arrays(config(photos), tmp_path).splits["train"].images
    arrays = load_arrays(config(photos), tmp_path / "none", on_progress=lambda *_: pytest.fail("decoded"), budget=0)
    split, rows = arrays.splits["train"], np.array([4, 2, 2])
    assert isinstance(split.images, LazyImages)
    split.announce(rows)
    batch = split.batch(rows, CPU)
    assert batch.dtype == torch.uint8
    np.testing.assert_array_equal(batch.numpy(), expected[rows])


def test_a_part_of_the_splits_may_fit_the_budget(photos: Path, tmp_path: Path) -> None:
    splits = load_arrays(config(photos), tmp_path, budget=7 * 16 * 16 * 3 + 200).splits
    assert isinstance(splits["train"].images, np.memmap)
    # What is in use is not removed for it.
    assert isinstance(splits["val"].images, LazyImages)


def test_an_image_beyond_the_budget_is_looked_at_before_the_training(photos: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    arrays = load_arrays(config(photos), tmp_path, budget=0)
    decode_rest(arrays, lambda done, total: seen.append((done, total)))
    assert seen == [(7, 7), (2, 2)]
    (photos / "val" / "dog" / "val_dog_0.jpg").write_bytes(b"not an image")
    with pytest.raises(InvalidInput, match=r"val_dog_0.jpg: image must be complete and readable"):
        decode_rest(load_arrays(config(photos), tmp_path, budget=0))
    decode_rest(load_arrays(config(photos), tmp_path / "cached", ["train"]), lambda *_: pytest.fail("decoded twice"))


def test_a_split_is_kept_on_the_device_where_it_takes_at_most_a_quarter(photos: Path, tmp_path: Path) -> None:
    split = load_arrays(config(photos), tmp_path).splits["train"]
    size = 7 * 16 * 16 * 3
    assert split.on(CPU).resident is None
    assert split.on(CPU, 4 * size - 1).resident is None
    copied = split.on(CPU, 4 * size)
    assert copied.resident is not None
    np.testing.assert_array_equal(copied.resident.numpy(), split.images)
    rows = np.array([6, 0, 6])
    torch.testing.assert_close(copied.batch(rows, CPU), split.batch(rows, CPU), rtol=0, atol=0)
    assert copied.on_host().resident is None
    lazy = load_arrays(config(photos), tmp_path / "none", budget=0).splits["train"].on(CPU, 4 * size)
    assert lazy.resident is not None
    np.testing.assert_array_equal(lazy.resident.numpy(), split.images)

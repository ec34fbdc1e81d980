from pathlib import Path

import numpy as np
import pytest

import trainables.data.image_cache as image_cache
from search_spaces.errors import InvalidInput
from trainables.data.image_cache import open_images
from trainables.data.lazy_images import LazyImages
from trainables.data.node_cache import NodeCache
from trainables.data.preprocess import load_image
from trainables.data.readers import open_dataset
from trainables.data_config import DataConfig

KEY = "f" * 64


@pytest.fixture
def cache(tmp_path) -> NodeCache:
    return NodeCache(tmp_path / "cache")


def _open(root: Path, cache: NodeCache, **options):
    return open_images(open_dataset(root), "train", _data(root), KEY, cache, **options)


def _data(root: Path, **settings) -> DataConfig:
    return DataConfig(root=root, **{"image_size": 16, **settings})


def test_it_holds_the_images_in_order_and_is_built_once(photos, cache):
    dataset = open_dataset(photos)
    seen = []
    images = _open(photos, cache, on_progress=lambda done, total: seen.append((done, total)))
    assert isinstance(images, np.memmap)
    assert images.shape == (7, 16, 16, 3)
    assert images.dtype == np.uint8
    assert not images.flags.writeable
    assert seen == [(done, 7) for done in range(1, 8)]
    for image, sample in zip(images, dataset.splits["train"], strict=True):
        np.testing.assert_array_equal(image, load_image(dataset.read(sample), sample.path, 16, "crop"))
    again = _open(photos, cache, on_progress=lambda *_: pytest.fail("decoded a second time"))
    np.testing.assert_array_equal(again, images)
    assert not list((cache.folder / "images").glob("*.partial"))


def test_whatever_changes_the_pixels_has_its_own_file(photos, cache, monkeypatch):
    dataset = open_dataset(photos)
    for split, settings, key in [
        ("train", {}, KEY),
        ("val", {}, KEY),
        ("train", {"image_size": 17}, KEY),
        ("train", {"resize_mode": "pad"}, KEY),
        ("train", {"max_pixels": 1000}, KEY),
        ("train", {}, "0" * 64),
    ]:
        data = _data(photos, **settings)
        images = open_images(dataset, split, data, key, cache)
        assert images.shape == (len(dataset.splits[split]), data.image_size, data.image_size, 3)
    assert len(list((cache.folder / "images").glob("*.npy"))) == 6
    monkeypatch.setattr(image_cache, "PREPROCESSING_VERSION", 10**6)
    open_images(dataset, "train", _data(photos), KEY, cache)
    assert len(list((cache.folder / "images").glob("*.npy"))) == 7


def test_an_unreadable_image_is_named_and_nothing_is_left(photos, cache):
    (photos / "train" / "dog" / "train_dog_1.png").write_bytes(b"not an image")
    with pytest.raises(InvalidInput, match=r"photos/train/dog/train_dog_1.png: image must be complete and readable"):
        _open(photos, cache)
    assert [path for path in (cache.folder / "images").iterdir() if path.suffix != ".lock"] == []


def test_images_beyond_the_budget_are_decoded_when_they_are_asked_for(photos, cache, tmp_path, caplog):
    expected = _open(photos, cache)
    lazy = _open(photos, NodeCache(tmp_path / "small", 1000), on_progress=lambda *_: pytest.fail("decoded"))
    assert isinstance(lazy, LazyImages)
    assert lazy.shape == expected.shape
    np.testing.assert_array_equal(lazy[np.array([6, 0, 6])], expected[[6, 0, 6]])
    assert "the images of train (0 MiB) do not fit into the budget of" in caplog.text
    assert "raise storage.cache_budget" in caplog.text
    assert not list((tmp_path / "small").glob("*/*.npy"))

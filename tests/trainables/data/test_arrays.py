from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainables.data.arrays
from search_spaces.errors import BadImages, InvalidInput
from trainables.data.arrays import Arrays, decode_rest, load_arrays, open_used
from trainables.data.fingerprint import Content, examine_content
from trainables.data.lazy_images import LazyImages
from trainables.data_config import DataConfig

CPU = torch.device("cpu")


def config(root: Path, **settings: Any) -> DataConfig:
    return DataConfig(root=root, image_size=16, resize_mode="squash", **settings)


def skipping(root: Path, **settings: Any) -> DataConfig:
    return config(root, on_bad_image="skip", **settings)


def test_images_of_the_splits_asked_for(photos: Path, tmp_path: Path) -> None:
    arrays = load_arrays(config(photos), tmp_path)
    assert list(arrays.splits) == ["train", "val"]
    assert arrays.classes == ("cat", "dog")
    assert arrays.fingerprints == examine_content(arrays.dataset, tmp_path).fingerprints
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


@pytest.mark.parametrize("budget", [None, 0])
def test_all_bad_images_of_all_splits_are_named(photos: Path, tmp_path: Path, budget: int | None) -> None:
    bad = [
        photos / name for name in ("train/cat/train_cat_0.jpg", "train/dog/train_dog_2.jpg", "val/cat/val_cat_0.jpg")
    ]
    for path in bad:
        path.write_bytes(b"not an image")
    with pytest.raises(BadImages, match=r"got 3 that are not; replace or .* `data.on_bad_image: skip`\n") as caught:
        decode_rest(load_arrays(config(photos), tmp_path, budget=budget))
    assert list(caught.value.faults) == [str(path) for path in bad]


def _without_bad_images(photos: Path, bad: Iterable[str], tmp_path: Path, budget: int | None = None) -> Arrays:
    for name in bad:
        (photos / name).write_bytes(b"not an image")
    arrays = load_arrays(skipping(photos), tmp_path, None, budget=budget)
    decode_rest(arrays)
    return arrays


@pytest.mark.parametrize("budget", [None, 0])
def test_bad_images_can_be_left_out_as_if_they_were_not_there(
    photos: Path, tmp_path: Path, write_image: Callable[[Path], Path], budget: int | None
) -> None:
    bad = ["test/dog/bad.png", "train/cat/train_cat_0.jpg", "train/dog/bad.jpg"]
    write_image(photos / "test" / "cat" / "large.png", size=(40, 40))  # type: ignore[call-arg]
    found = _without_bad_images(photos, bad, tmp_path, budget)
    counts = {split: [*images] for split, images in found.dataset.skipped.items()}
    assert counts == {"test": bad[:1], "train": bad[1:]}
    assert found.dataset.skipped["test"][bad[0]].startswith("test/dog/bad.png: image must be complete and readable")
    assert "cannot be decoded are left out (data.on_bad_image: skip): 1 of test, 2 of train" in found.remarks[0]
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 6, "val": 2, "test": 3}
    again = load_arrays(skipping(photos), tmp_path, None, lambda *_: pytest.fail("decoded again"), budget)
    assert (again.dataset, again.dataset.skipped, again.remarks) == (
        found.dataset,
        found.dataset.skipped,
        found.remarks,
    )
    assert open_used(skipping(photos), tmp_path) == found.dataset
    fewer = load_arrays(skipping(photos, max_pixels=1000), tmp_path, None, budget=budget)
    assert "large.png" in str(fewer.dataset.skipped["test"])
    for name in bad:
        (photos / name).unlink()
    for policy in (config(photos), skipping(photos)):
        removed = load_arrays(policy, tmp_path, None, budget=budget)
        assert removed.fingerprints == found.fingerprints
        assert removed.remarks == removed.dataset.remarks == ()
        for name, split in removed.splits.items():
            rows = np.arange(len(split))
            np.testing.assert_array_equal(split.images[rows], found.splits[name].images[rows])


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            ["val/cat/val_cat_0.jpg"],
            r"every class of val must keep an image .* skip`, got none .* in cat; the first: val",
        ),
        ([f"train/dog/train_dog_{name}" for name in ("0.jpg", "1.png", "2.jpg")], r"every class of train .* in dog"),
    ],
)
def test_a_class_that_skipping_leaves_empty_is_refused(
    photos: Path, tmp_path: Path, bad: list[str], words: str
) -> None:
    for _ in range(2):
        with pytest.raises(InvalidInput, match=words):
            _without_bad_images(photos, bad, tmp_path)


@pytest.mark.parametrize("budget", [None, 0])
def test_bytes_that_change_after_they_were_hashed_are_not_trained_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int | None
) -> None:
    path = photos / "train" / "cat" / "train_cat_1.png"
    hashed = trainables.data.arrays.examine_content

    def then_changed(*arguments: Any) -> Content:
        content = hashed(*arguments)
        path.write_bytes((photos / "train" / "dog" / "train_dog_1.png").read_bytes())
        return content

    monkeypatch.setattr(trainables.data.arrays, "examine_content", then_changed)
    with pytest.raises(InvalidInput, match=r"train_cat_1.png: every image must stay as it was .* got other bytes"):
        decode_rest(load_arrays(config(photos), tmp_path, budget=budget))
    assert not list(tmp_path.glob("images/train*.npy"))


def test_splits_none_are_all_that_are_used(photos: Path, tmp_path: Path) -> None:
    assert list(load_arrays(config(photos), tmp_path, None).splits) == ["train", "val", "test"]
    without = config(photos).model_copy(update={"test": "none"})
    assert list(load_arrays(without, tmp_path, None).splits) == ["train", "val"]


def test_remarks_are_those_of_the_listing_and_of_the_bytes(photos: Path, tmp_path: Path) -> None:
    (photos / "train" / "cat" / "a.heic").touch()
    (photos / "val" / "cat" / "copy.jpg").write_bytes((photos / "train" / "cat" / "train_cat_0.jpg").read_bytes())
    listing, content = load_arrays(config(photos), tmp_path).remarks
    assert "1 file left out" in listing
    assert "1 in both train and val" in content


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

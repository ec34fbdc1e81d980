import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import trainables.data.image_cache as image_cache
from search_spaces.errors import InvalidInput, ThawError
from trainables.data.image_cache import open_images
from trainables.data.preprocess import load
from trainables.data.readers import open_dataset

KEY = "f" * 64

# One process of the node. It says when it is ready, waits for the start, and notes each image that it decodes itself.
BUILDER = """
import os, signal, sys, time
from pathlib import Path
from trainables.data.image_cache import open_images
from trainables.data.readers import open_dataset

root, cache, notes, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])

def progress(done, total):
    with notes.open("a") as file:
        file.write(f"{os.getpid()} {done} {total}\\n")
    time.sleep(0.05)
    if done == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

dataset = open_dataset(root)
notes.with_name(f"ready-{os.getpid()}").touch()
while not notes.with_name("start").exists():
    time.sleep(0.005)
images = open_images(dataset, "train", 8, "crop", "f" * 64, cache, progress)
print(images.shape, int(images.sum()))
"""


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def _open(root: Path, cache: Path, **options):
    return open_images(open_dataset(root), "train", 8, "crop", KEY, cache, **options)


def _file(cache: Path) -> Path:
    (path,) = (cache / "images").glob("*.npy")
    return path


def _start(root: Path, cache: Path, folder: Path, kill_at: int = 0) -> subprocess.Popen:
    arguments = [sys.executable, "-c", BUILDER, str(root), str(cache), str(folder / "notes"), str(kill_at)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])


def test_it_holds_the_images_in_order_and_is_built_once(photos, cache):
    dataset = open_dataset(photos)
    seen = []
    images = _open(photos, cache, on_progress=lambda done, total: seen.append((done, total)))
    assert isinstance(images, np.memmap)
    assert images.shape == (7, 8, 8, 3)
    assert images.dtype == np.uint8
    assert not images.flags.writeable
    assert seen == [(done, 7) for done in range(1, 8)]
    for image, sample in zip(images, dataset.splits["train"], strict=True):
        np.testing.assert_array_equal(image, load(dataset.read(sample), sample.path, 8, "crop"))
    again = _open(photos, cache, on_progress=lambda *_: pytest.fail("decoded a second time"))
    np.testing.assert_array_equal(again, images)
    assert not list((cache / "images").glob("*.partial"))


def test_whatever_changes_the_pixels_has_its_own_file(photos, cache, monkeypatch):
    dataset = open_dataset(photos)
    for split, size, mode, key in [
        ("train", 8, "crop", KEY),
        ("val", 8, "crop", KEY),
        ("train", 9, "crop", KEY),
        ("train", 8, "pad", KEY),
        ("train", 8, "crop", "0" * 64),
    ]:
        images = open_images(dataset, split, size, mode, key, cache)
        assert images.shape == (len(dataset.splits[split]), size, size, 3)
    assert len(list((cache / "images").glob("*.npy"))) == 5
    monkeypatch.setattr(image_cache, "PREPROCESSING_VERSION", 10**6)
    open_images(dataset, "train", 8, "crop", KEY, cache)
    assert len(list((cache / "images").glob("*.npy"))) == 6


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def _garble(path: Path) -> None:
    path.write_bytes(os.urandom(300))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _half_a_header(path: Path) -> None:
    os.truncate(path, 20)


def _of_another_shape(path: Path) -> None:
    np.save(path, np.zeros((3, 8, 8, 3), dtype=np.uint8))


def _of_another_type(path: Path) -> None:
    np.save(path, np.zeros((7, 8, 8, 3), dtype=np.int8))


def _of_objects(path: Path) -> None:
    np.save(path, np.array([None]), allow_pickle=True)


@pytest.mark.parametrize(
    "damage",
    [_cut, _lengthen, _garble, _empty, _half_a_header, _of_another_shape, _of_another_type, _of_objects],
)
def test_a_damaged_file_is_built_anew(photos, cache, damage):
    expected = np.array(_open(photos, cache))
    size = _file(cache).stat().st_size
    damage(_file(cache))
    np.testing.assert_array_equal(_open(photos, cache), expected)
    np.testing.assert_array_equal(np.load(_file(cache)), expected)
    assert _file(cache).stat().st_size == size


def test_two_processes_build_once(photos, cache, tmp_path):
    processes = [_start(photos, cache, tmp_path) for _ in range(2)]
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("ready-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (tmp_path / "start").touch()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1]
    notes = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    assert len({process for process, _, _ in notes}) == 1
    assert [int(done) for _, done, _ in notes] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("kill_at", [1, 7])
def test_a_killed_builder_leaves_nothing_that_is_taken_for_good(photos, cache, tmp_path, kill_at):
    (tmp_path / "start").touch()
    process = _start(photos, cache, tmp_path, kill_at)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not list((cache / "images").glob("*.npy"))
    assert list((cache / "images").glob("*.partial"))
    seen = []
    images = _open(photos, cache, on_progress=lambda done, total: seen.append(done))
    assert seen == list(range(1, 8))
    dataset = open_dataset(photos)
    np.testing.assert_array_equal(images[6], load(dataset.read(dataset.splits["train"][6]), "", 8, "crop"))
    assert not list((cache / "images").glob("*.partial"))


def test_an_unreadable_image_is_named_and_nothing_is_left(photos, cache):
    (photos / "train" / "dog" / "train_dog_1.png").write_bytes(b"not an image")
    with pytest.raises(InvalidInput, match=r"photos/train/dog/train_dog_1.png: image must be complete and readable"):
        _open(photos, cache)
    assert [path for path in (cache / "images").iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize("when", ["before", "while writing"])
def test_a_full_disk_says_what_is_needed(photos, cache, monkeypatch, when):
    if when == "before":
        usage = shutil.disk_usage(photos)
        monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda path: usage._replace(free=7 * 8 * 8 * 3 - 1))
    else:

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(image_cache.os, "fsync", full)
    with pytest.raises(
        ThawError, match=r"cache/images: the image cache needs 1344 bytes .*full disk; free space there"
    ):
        _open(photos, cache)
    assert [path for path in (cache / "images").iterdir() if path.suffix != ".lock"] == []


def test_a_cache_folder_that_cannot_be_written(photos, cache):
    cache.write_bytes(b"")
    with pytest.raises(ThawError, match=r"cache/images: the image cache must be writable, got .*storage.cache_dir"):
        _open(photos, cache)

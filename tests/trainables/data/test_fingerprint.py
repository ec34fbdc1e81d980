import hashlib
import json
import os
import shutil
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search_spaces.errors import InvalidInput
from trainables.data.fingerprint import Fingerprints, examine_content
from trainables.data.readers import Dataset, open_dataset


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def fingerprints(dataset: Dataset, cache: Path) -> Fingerprints:
    return examine_content(dataset, cache).fingerprints


def test_it_follows_the_content_and_not_the_place(photos, cache, tmp_path):
    first = fingerprints(open_dataset(photos), cache)
    assert all(len(each or "") == 64 and int(each or "", 16) for each in astuple(first))
    copy = tmp_path / "elsewhere"
    shutil.copytree(photos, copy)
    assert fingerprints(open_dataset(copy), cache) == first
    assert fingerprints(open_dataset(copy), tmp_path / "other_cache") == first


@pytest.mark.parametrize("change", ["bytes", "name", "label", "split", "fewer"])
def test_every_change_of_content_changes_it(photos, cache, change):
    before = fingerprints(open_dataset(photos), cache)
    image = photos / "train" / "cat" / "train_cat_1.png"
    if change == "bytes":
        image.write_bytes(image.read_bytes() + b"\0")
    elif change == "name":
        image.rename(image.with_name("renamed.png"))
    elif change == "label":
        image.rename(photos / "train" / "dog" / image.name)
    elif change == "split":
        image.rename(photos / "val" / "cat" / image.name)
    else:
        image.unlink()
    after = fingerprints(open_dataset(photos), cache)
    assert after.trained != before.trained
    assert after.stored != before.stored
    assert after.measured == before.measured, "nothing of the test split has changed"
    assert not after.is_trained(before.trained)


def test_photos_that_change_places_are_noticed_whatever_their_times_and_sizes(photos, cache):
    """An archive that is reproducible gives one time to all files, and bitmaps of one resolution have one size."""
    one, other = (photos / "train" / name / "a.bmp" for name in ("cat", "dog"))
    for number, path in enumerate((one, other)):
        Image.new("RGB", (8, 8), (number * 200, 0, 0)).save(path)
        os.utime(path, (946684800,) * 2)
    before = fingerprints(open_dataset(photos), cache)
    for old, new in ((one, one.with_name("b")), (other, one), (one.with_name("b"), other)):
        old.rename(new)
    assert (one.stat().st_size, one.stat().st_mtime) == (other.stat().st_size, 946684800)
    assert fingerprints(open_dataset(photos), cache) != before


def test_what_was_trained_on_stays_when_the_test_split_changes(photos, cache):
    before = fingerprints(open_dataset(photos), cache)
    next((photos / "test").rglob("*.jpg")).unlink()
    after = fingerprints(open_dataset(photos), cache)
    assert (after.trained == before.trained, after.measured == before.measured) == (True, False)
    assert after.is_trained(before.trained)
    assert not after.is_trained(before.stored), "of an older version, which had one fingerprint of all"
    shutil.rmtree(photos / "test")
    assert fingerprints(open_dataset(photos), cache).measured is None


def test_a_run_of_an_older_version_is_known_by_the_fingerprint_of_all(photos, cache):
    found = fingerprints(open_dataset(photos), cache)
    lines = [
        json.dumps([sample.path, split, "catdog"[3 * sample.label :][:3], hashlib.sha256(content).hexdigest()])
        for split, samples in open_dataset(photos).splits.items()
        for sample in samples
        for content in [(photos / sample.path).read_bytes()]
    ]
    old = hashlib.sha256("".join(f"{line}\n" for line in sorted(lines)).encode()).hexdigest()
    assert found.is_trained(old)
    assert found.stored == old


@pytest.mark.parametrize("change", ["label", "split"])
def test_a_manifest_can_change_it_without_touching_an_image(photos, cache, tmp_path, change):
    rows = [
        f"{sample.path},{sample.label},{split}"
        for split, samples in open_dataset(photos).splits.items()
        for sample in samples
    ]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(["path,label,split", *rows]))
    before = fingerprints(open_dataset(photos, manifest), cache)
    path, label, split = rows[0].split(",")
    rows[0] = f"{path},1,{split}" if change == "label" else f"{path},{label},test"
    manifest.write_text("\n".join(["path,label,split", *rows]))
    assert fingerprints(open_dataset(photos, manifest), cache) != before


def test_the_second_call_reads_no_image(photos, cache, monkeypatch):
    dataset = open_dataset(photos)
    first = fingerprints(dataset, cache)
    reads = []
    original = Dataset.read
    monkeypatch.setattr(Dataset, "read", lambda self, sample: reads.append(sample) or original(self, sample))
    assert fingerprints(dataset, cache) == first
    assert reads == []
    os.utime(photos / dataset.splits["train"][0].path, ns=(1, 1))
    assert fingerprints(dataset, cache) == first
    assert len(reads) == 11


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"trained": 3}', '{"trained": "short", "measured": null, "stored": ""}', "{}"]
)
def test_a_damaged_shortcut_is_made_anew(photos, cache, text):
    dataset = open_dataset(photos)
    first = fingerprints(dataset, cache)
    (shortcut,) = (cache / "fingerprints").iterdir()
    shortcut.write_text(text)
    assert fingerprints(dataset, cache) == first
    assert first.stored in shortcut.read_text()
    assert list((cache / "fingerprints").iterdir()) == [shortcut]


def test_a_cache_that_cannot_be_written_costs_only_time(photos, cache):
    cache.write_bytes(b"a file where the folder should be")
    assert fingerprints(open_dataset(photos), cache) == fingerprints(open_dataset(photos), cache.with_name("good"))


def test_a_file_that_is_gone_is_named(photos, cache):
    dataset = open_dataset(photos)
    (photos / "val" / "cat" / "val_cat_0.jpg").unlink()
    with pytest.raises(InvalidInput, match=r"val_cat_0.jpg: every listed image must be a file, got No such file"):
        fingerprints(dataset, cache)


def test_remarks_on_the_bytes_are_remembered(photos, cache):
    shutil.copy(photos / "train" / "cat" / "train_cat_0.jpg", photos / "val" / "dog" / "copy.jpg")
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(photos / "train" / "dog" / "scan.png")
    dataset = open_dataset(photos)
    first = examine_content(dataset, cache)
    assert [remark[:20] for remark in first.remarks] == ["some images are the ", "1 of the images have"]
    assert "1 under two labels, 1 in both train and val" in first.remarks[0]
    assert examine_content(dataset, cache) == first

"""Counts of a division."""

import shutil
from pathlib import Path

from trainables.data.fingerprint import examine_content
from trainables.data.readers import open_dataset
from trainables.data.split.outcome import ClassImages, SplitImages, outcome
from trainables.data_config import SplitShares


def test_what_became_of_a_data_set_is_counted(tmp_path: Path, write_image) -> None:
    photos = tmp_path / "photos"
    for label in ("cat", "dog"):
        for number in range(10):
            write_image(photos / label / f"{label}{number}.png")
    shutil.copy(photos / "cat" / "cat0.png", photos / "cat" / "again.png")
    shutil.copy(photos / "cat" / "cat0.png", photos / "dog" / "again.png")
    (photos / "dog" / "bad.png").write_bytes(b"no image")
    shares = SplitShares(val=0.2, test=0.2, together="near_duplicates")
    found = outcome(examine_content(open_dataset(photos, shares=shares), tmp_path / "cache").dataset)
    assert (found.images, found.groups, found.grouped) == (23, 1, 3)
    assert found.largest == ["cat/again.png", "cat/cat0.png", "dog/again.png"]
    assert len(found.by_bytes_alone) == 23, "of one color, or damaged"
    assert found.splits == {"train": SplitImages(15, 0), "val": SplitImages(4, 0), "test": SplitImages(4, 0)}
    assert found.classes == [
        ClassImages("cat", {"train": 7, "val": 2, "test": 2}),
        ClassImages("dog", {"train": 8, "val": 2, "test": 2}),
    ]

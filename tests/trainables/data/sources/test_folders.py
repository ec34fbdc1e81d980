import shutil
from collections import Counter

import pytest

from search_spaces.errors import InvalidInput
from trainables.data.readers import SPLITS, open_dataset
from trainables.data.sources.folders import folder_entries, left_out_text


def entries(root, splits=SPLITS):
    return folder_entries(root, splits, Counter())


def test_a_split_that_is_not_asked_for_is_not_looked_at(photos):
    (photos / "test" / "cat").rename(photos / "test" / "unknown")
    assert list(entries(photos, ("train", "val"))) == ["train", "val"]
    assert list(open_dataset(photos, splits=("train", "val")).splits) == ["train", "val"]


def test_capitals_of_a_split_do_not_matter(photos):
    (photos / "val").rename(photos / "Valid")
    (photos / "train").rename(photos / "TRAIN")
    found = entries(photos)
    assert found["val"][0][0].startswith("Valid/cat/")
    assert found["train"][0][0].startswith("TRAIN/cat/")


def test_two_folders_of_a_split_are_refused_also_where_only_capitals_differ(photos):
    (photos / "Train" / "bird").mkdir(parents=True)
    with pytest.raises(InvalidInput, match=r"split train must be one folder, got Train and train; merge them"):
        entries(photos)


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_that_holds_all_classes_is_no_class(photos, target):
    before = open_dataset(photos)
    for split in SPLITS:
        (photos / split / "again").symlink_to(target)
    after = open_dataset(photos)
    assert after == before
    assert after.remarks == (f"{photos}: 3 files left out (3 linked to a folder of the data set)",)


def test_a_class_may_be_a_link_but_not_reach_into_another(photos, tmp_path):
    pool = tmp_path / "pool"
    (photos / "train").rename(pool)
    (photos / "train").mkdir()
    (pool / "cat" / "all").symlink_to("..")
    for name in ("cat", "dog"):
        (photos / "train" / name).symlink_to(pool / name)
    assert Counter(label for _, label in entries(photos)["train"]) == {"cat": 4, "dog": 3}


def test_val_may_be_a_link_to_train(photos):
    (photos / "val").rename(photos / "unused")
    (photos / "val").symlink_to("train")
    assert len(entries(photos)["val"]) == len(entries(photos)["train"]) == 7


def test_a_class_folder_that_cannot_be_entered_is_named(photos):
    (photos / "val" / "bird").symlink_to("bird")
    with pytest.raises(InvalidInput, match=r"val/bird: every folder of images must be readable, got: Too many levels"):
        open_dataset(photos)


def test_dev_and_eval_stand_for_val_unless_there_is_one(photos):
    for name in ("dev", "Eval"):
        (photos / "val").rename(photos / name)
        assert entries(photos)["val"][0][0].startswith(f"{name}/cat/")
        (photos / name).rename(photos / "val")
    (photos / "dev").mkdir()
    assert entries(photos)["val"][0][0].startswith("val/cat/")


def test_masks_are_never_taken_for_photos(photos):
    shutil.copytree(photos / "train" / "cat", photos / "train" / "masks")
    (photos / "train" / "cat").rename(photos / "train" / "images")
    with pytest.raises(
        InvalidInput, match=r"train: must hold photos alone, got dog/, images/, masks/; move masks/ out"
    ):
        open_dataset(photos)
    (photos / "train" / "cat").mkdir()
    for name in ("images", "masks"):
        (photos / "train" / name).rename(photos / "train" / "cat" / name)
    with pytest.raises(InvalidInput, match=r"train/cat: must hold photos alone, got images/, masks/; move masks/ out"):
        open_dataset(photos)


def test_a_link_to_another_class_is_no_class(photos):
    before = open_dataset(photos)
    (photos / "train" / "alias").symlink_to("cat")
    after = open_dataset(photos)
    assert after == before
    assert after.remarks == (f"{photos}: 1 file left out (1 linked to a folder of the data set)",)


def test_classes_one_folder_deeper_are_pointed_at(photos):
    for split in SPLITS:
        (photos / split).rename(photos / "images")
        (photos / split).mkdir()
        (photos / "images").rename(photos / split / "images")
    with pytest.raises(
        InvalidInput,
        match=r"train: must hold one folder per class, got images/ alone, which holds .*; move them up into",
    ):
        open_dataset(photos)


def test_data_split_is_not_offered_where_train_has_no_classes(photos):
    shutil.rmtree(photos / "val")
    with pytest.raises(InvalidInput, match=r"set `data.split"):
        open_dataset(photos)
    for image in (photos / "train").glob("*/*"):
        image.rename(photos / "train" / image.name)
    for name in ("cat", "dog"):
        (photos / "train" / name).rmdir()
    with pytest.raises(InvalidInput, match=r"folder val/ is required") as refused:
        open_dataset(photos)
    assert "data.split" not in str(refused.value)


def test_a_class_that_is_a_link_to_nothing_is_named(photos):
    (photos / "train" / "bird").symlink_to("/mnt/gone")
    with pytest.raises(InvalidInput, match=r"train/bird: a link must lead to a class, got nothing there; restore or"):
        open_dataset(photos)


def test_splits_within_classes_get_the_layout(photos):
    for name in ("cat", "dog"):
        (photos.parent / "turned" / name / "train").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="got cat/, dog/; expected are the folders train/ and val/"):
        open_dataset(photos.parent / "turned")


def test_litter_is_no_class(photos):
    before = open_dataset(photos)
    for name in ("@eaDir", "__MACOSX", "lost+found"):
        (photos / "train" / name / "cat").mkdir(parents=True)
        (photos / "train" / name / "cat" / "a.jpg").touch()
    assert open_dataset(photos) == before
    assert open_dataset(photos).remarks == ()


@pytest.mark.parametrize(
    ("split", "remedy"),
    [
        ("train", "got 2 in train/ itself, in no class folder; make one folder per class in train/, or list"),
        ("test", "got 2 in test/ itself, .* manifest .data.manifest.; or leave the split out with `data.test: none`"),
    ],
)
def test_images_in_no_class_folder_are_pointed_at(photos, split, remedy):
    for path in [*(photos / split).rglob("*.*")]:
        path.unlink()
    for name in ("a.jpg", "b.jpg", "notes.txt"):
        (photos / split / name).touch()
    with pytest.raises(InvalidInput, match=rf"split {split} must hold images, {remedy}"):
        open_dataset(photos)


def test_an_empty_split_says_what_it_holds(photos):
    for path in (photos / "val").rglob("*.*"):
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(InvalidInput, match=r"val must hold images, got none: 2 files left out \(2 .heic\); add some"):
        open_dataset(photos)


def test_one_level_too_deep_is_pointed_at(photos):
    with pytest.raises(InvalidInput, match=rf"got photos/; {photos} has a folder train/: set data.root to it"):
        open_dataset(photos.parent)


def test_the_reasons_come_by_their_number():
    assert left_out_text(Counter({".txt": 1})) == "1 file left out (1 .txt)"
    assert left_out_text(Counter({".txt": 1, ".heic": 2})) == "3 files left out (2 .heic, 1 .txt)"

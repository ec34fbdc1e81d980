import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from search_spaces.errors import InvalidInput
from trainables.data.readers import Sample, open_dataset


def test_folders_are_listed_in_order(photos):
    dataset = open_dataset(photos)
    assert dataset.classes == ("cat", "dog")
    assert list(dataset.splits) == ["train", "val", "test"]
    assert dataset.splits["val"] == (Sample("val/cat/val_cat_0.jpg", 0), Sample("val/dog/val_dog_0.jpg", 1))
    assert dataset.splits["train"] == tuple(sorted(dataset.splits["train"], key=lambda sample: sample.path))
    labels = dataset.labels("train")
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    sample = dataset.splits["train"][0]
    assert dataset.read(sample) == (photos / sample.path).read_bytes()


@pytest.mark.parametrize("alias", ["valid", "validation"])
def test_val_has_aliases_and_test_is_optional(photos, alias):
    (photos / "val").rename(photos / alias)
    shutil.rmtree(photos / "test")
    dataset = open_dataset(photos)
    assert list(dataset.splits) == ["train", "val"]
    assert dataset.splits["val"][0].path == f"{alias}/cat/val_cat_0.jpg"


def test_two_folders_for_val_are_refused(photos):
    (photos / "valid").mkdir()
    with pytest.raises(InvalidInput, match=r"split val must be one folder, got val and valid; merge"):
        open_dataset(photos)


def test_only_images_count(photos, write_image):
    before = open_dataset(photos)
    for name in (".DS_Store", "._cat.jpg", "notes.txt", "n9151jpg"):
        (photos / "train" / "cat" / name).write_bytes(b"x")
    write_image(photos / "train" / ".hidden" / "a.jpg")
    write_image(photos / "train" / "cat" / ".thumbnails" / "a.jpg")
    (photos / "train" / "stray.jpg").write_bytes(b"x")
    assert open_dataset(photos) == before
    shouting = write_image(photos / "train" / "cat" / "b.png").rename(photos / "train" / "cat" / "B.PNG")
    deeper = write_image(photos / "train" / "cat" / "deeper" / "c.webp")
    found = {sample.path for sample in open_dataset(photos).splits["train"]}
    assert found - {sample.path for sample in before.splits["train"]} == {
        shouting.relative_to(photos).as_posix(),
        deeper.relative_to(photos).as_posix(),
    }


def test_an_unreadable_file_is_named(photos):
    dataset = open_dataset(photos)
    sample = dataset.splits["train"][0]
    (photos / sample.path).unlink()
    with pytest.raises(InvalidInput, match=rf"{sample.path}: every listed image must be readable, got No such file"):
        dataset.read(sample)


@pytest.mark.timeout(20)
def test_a_pipe_is_no_image_and_no_manifest(photos):
    dataset = open_dataset(photos)
    sample = dataset.splits["train"][0]
    (photos / sample.path).unlink()
    os.mkfifo(photos / sample.path)
    with pytest.raises(InvalidInput, match=rf"{sample.path}: an image must be a file, got a pipe or device; replace"):
        open_dataset(photos).read(sample)
    os.mkfifo(photos / "m.csv")
    for manifest in (photos / "m.csv", Path("/dev/zero")):
        with pytest.raises(InvalidInput, match=rf"{manifest}: a manifest must be a file, got a pipe or device; name"):
            open_dataset(photos, manifest)


def _no_root(root: Path) -> None:
    shutil.rmtree(root)


def _root_is_a_file(root: Path) -> None:
    shutil.rmtree(root)
    root.write_bytes(b"")


def _no_train(root: Path) -> None:
    (root / "train").rename(root / "learning")


def _no_val(root: Path) -> None:
    shutil.rmtree(root / "val")


def _empty_val(root: Path) -> None:
    shutil.rmtree(root / "val")
    (root / "val").mkdir()


def _empty_train(root: Path) -> None:
    for path in (root / "train").rglob("*.*"):
        path.unlink()


def _empty_test(root: Path) -> None:
    for path in (root / "test").rglob("*.*"):
        path.unlink()


def _one_class(root: Path) -> None:
    for split in ("train", "val", "test"):
        shutil.rmtree(root / split / "dog")


def _extra_class(root: Path) -> None:
    (root / "val" / "cat").rename(root / "val" / "cats")


def _class_without_images(root: Path) -> None:
    (root / "train" / "fox").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            _no_root,
            r"photos: data.root must be a folder, got nothing there; check the path: expected are the folders",
        ),
        (_root_is_a_file, r"must be a folder, got a file"),
        (_no_train, r"photos: folder train/ is required, got learning/, test/, val/; expected are the folders"),
        (_no_val, r"folder val/ is required, got test/, train/"),
        (_empty_val, r"split val must hold images, got none; add some \(\.jpg"),
        (_empty_train, r"split train must hold images, got none"),
        (_empty_test, r"split test must hold images, got none; add some, or remove"),
        (_one_class, r"at least two classes, got one \(cat\); add"),
        (_extra_class, r"every class of val must also be in train, got cats; .*did you mean cat\?"),
        (_class_without_images, r"train: every class of train must hold images, got none in fox; add images, or move"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(photos, damage, message):
    damage(photos)
    with pytest.raises(InvalidInput, match=message):
        open_dataset(photos)


def test_remarks_name_what_is_left_out_and_what_val_lacks(photos):
    assert open_dataset(photos).remarks == ()
    shutil.rmtree(photos / "val" / "dog")
    (photos / "train" / "cat" / "a.heic").touch()
    (photos / "test" / "stray.jpg").touch()
    assert open_dataset(photos).remarks == (
        f"{photos}: 2 files left out (1 .heic, 1 outside a class folder)",
        f"{photos}: val has no image of dog: its figures say nothing about it, and macro-F1 counts each as 0; "
        "add images to val",
    )


def test_remarks_name_five_classes_that_val_lacks(photos, write_image):
    for number in range(7):
        write_image(photos / "train" / f"class{number}" / "a.png")
    assert "val has no image of class0, class1, class2, class3, class4 and 2 more" in open_dataset(photos).remarks[0]


def test_classes_that_look_alike_are_pointed_at(photos, write_image):
    write_image(photos / "train" / "Cat" / "a.png")
    write_image(photos / "val" / "Cat" / "a.png")
    assert "the classes Cat and cat differ only in capitals" in open_dataset(photos).remarks[-1]


def test_a_class_of_val_in_another_unicode_form_is_shown(photos):
    (photos / "train" / "cat").rename(photos / "train" / "caf\xe9")
    (photos / "val" / "cat").rename(photos / "val" / "cafe\u0301")
    with pytest.raises(InvalidInput, match=r"'cafe\\u0301' and 'caf\\xe9' of train differ only in .* Unicode form"):
        open_dataset(photos)

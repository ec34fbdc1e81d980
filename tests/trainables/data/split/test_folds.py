import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import InvalidInput
from trainables.data.fingerprint import examine_content
from trainables.data.readers import open_configured
from trainables.data.split.folds import divide_into_folds, pooled
from trainables.data_config import DataConfig, SplitShares, TrainedOn

Pairs = list[tuple[str, str]]


@st.composite
def images(draw: st.DrawFn) -> Pairs:
    sizes = draw(st.lists(st.integers(5, 40), min_size=2, max_size=5))
    return [(f"c{label}/{number}.jpg", f"c{label}") for label, size in enumerate(sizes) for number in range(size)]


@given(images(), st.integers(2, 5), st.integers(0, 5), st.randoms())
def test_each_class_is_spread_evenly_in_every_order_of_listing(
    pairs: Pairs, folds: int, seed: int, chance: random.Random
) -> None:
    found = divide_into_folds("photos", pairs, folds, SplitShares(seed=seed))
    assert found.keys() == {path for path, _ in pairs}
    for name in {label for _, label in pairs}:
        counts = Counter(found[path] for path, label in pairs if label == name)
        assert len(counts) == folds
        assert max(counts.values()) - min(counts.values()) <= 1
    sizes = Counter(found.values())
    assert max(sizes.values()) - min(sizes.values()) <= len({label for _, label in pairs})
    assert divide_into_folds("elsewhere", chance.sample(pairs, len(pairs)), folds, SplitShares(seed=seed)) == found


@given(images(), st.integers(2, 4), st.randoms(), st.integers(1, 9))
def test_equal_files_are_in_one_fold_whatever_their_classes(
    pairs: Pairs, folds: int, chance: random.Random, kinds: int
) -> None:
    digests = {path: str(chance.randrange(kinds)) for path, _ in pairs}
    try:
        found = divide_into_folds("photos", pairs, folds, SplitShares(together="near_duplicates"), digests)
    except InvalidInput as error:
        assert "must hold a different image for each of the" in str(error)
        return
    assert all(len({found[path] for path in digests if digests[path] == kind}) == 1 for kind in digests.values())
    assert all(len({found[path] for path, own in pairs if own == label}) == folds for _, label in pairs)


def test_another_seed_gives_other_folds() -> None:
    pairs = [(f"{label}/{number}.jpg", label) for label in ("cat", "dog") for number in range(20)]
    assert divide_into_folds("photos", pairs, 5, SplitShares(seed=0)) != divide_into_folds(
        "photos", pairs, 5, SplitShares(seed=1)
    )


def test_a_class_of_few_images_is_named() -> None:
    pairs = [(f"cat/{number}.jpg", "cat") for number in range(9)] + [("dog/0.jpg", "dog"), ("dog/1.jpg", "dog")]
    with pytest.raises(InvalidInput, match=r"each of the 3 folds of data\.folds, got 2 in dog"):
        divide_into_folds("photos", pairs, 3, SplitShares())


def test_val_is_part_of_the_pool() -> None:
    assert pooled({"train": [("a", "x")], "val": [("b", "x")], "test": [("c", "x")]}) == {
        "train": [("a", "x"), ("b", "x")],
        "test": [("c", "x")],
    }
    assert pooled({"test": []}) == {"test": []}


@pytest.fixture
def classes(few_digits: Path, tmp_path: Path) -> Path:
    """One folder per class, in no split."""
    for split in ("train", "val"):
        shutil.copytree(few_digits / split, tmp_path / "classes", dirs_exist_ok=True)
    return tmp_path / "classes"


def test_the_images_of_train_and_val_are_held_out_once_each(few_digits: Path) -> None:
    found = open_configured(DataConfig(root=few_digits, folds=4), Path("cache"))
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 99, "val": 99, "test": 18}
    assert found.counts_text == "99 in 4 folds, 18 test"
    held_out = []
    for fold in range(found.folds):
        own = found.of_fold(fold)
        assert sorted((*own.splits["train"], *own.splits["val"]), key=lambda each: each.path) == [
            *found.splits["train"]
        ]
        assert {*own.labels("train")} == {*own.labels("val")} == {0, 1, 2}
        held_out += own.splits["val"]
    assert sorted(held_out, key=lambda each: each.path) == [*found.splits["val"]]


def test_images_of_no_split_need_no_further_setting(classes: Path) -> None:
    found = open_configured(DataConfig(root=classes, folds=3), Path("cache"))
    assert [*found.splits] == ["train", "val"]
    assert len(found.splits["train"]) == 99


@pytest.mark.parametrize("split", [{"test": 0.2}, {"val": 0, "test": 0.2}])
def test_a_test_split_alone_is_carved_out(classes: Path, split: dict[str, float]) -> None:
    data = DataConfig.model_validate({"root": classes, "folds": 3, "split": split})
    found = open_configured(data, Path("cache"))
    assert (len(found.splits["train"]), len(found.splits["test"])) == (79, 20)
    assert not {*found.splits["train"]} & {*found.splits["test"]}
    assert DataConfig.model_validate(data.model_dump(mode="json")) == data


def test_a_manifest_may_have_splits_or_none(classes: Path, tmp_path: Path) -> None:
    paths = sorted(path.relative_to(classes) for path in classes.rglob("*.png"))
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label\n" + "".join(f"{path.as_posix()},{path.parts[0]}\n" for path in paths))
    expected = open_configured(DataConfig(root=classes, folds=3), Path("cache"))
    assert open_configured(DataConfig(root=classes, manifest=manifest, folds=3), Path("cache")) == expected


def test_equal_files_are_in_one_fold_once_they_are_read(classes: Path, tmp_path: Path) -> None:
    for number in range(8):
        shutil.copy(
            classes / "1" / sorted(path.name for path in (classes / "1").iterdir())[0], classes / f"1/c{number}.png"
        )
    data = DataConfig(root=classes, folds=3)
    for _ in range(2):  # read, then remembered
        found = examine_content(open_configured(data, Path("cache")), tmp_path / "cache").dataset
        copies = {fold for fold, each in zip(found.fold_of, found.splits["train"], strict=True) if "/c" in each.path}
        assert len(copies) == 1
    others = examine_content(
        open_configured(data.model_copy(update={"folds": 4}), Path("cache")), tmp_path / "cache"
    ).dataset
    assert others.folds == 4


def test_an_image_that_is_skipped_is_in_no_fold(classes: Path, tmp_path: Path) -> None:
    (classes / "1" / "broken.png").write_bytes(b"no image")
    content = examine_content(
        open_configured(DataConfig(root=classes, folds=3), Path("cache")), tmp_path / "cache", "skip"
    )
    assert [*content.dataset.skipped] == ["train"]
    assert len(content.dataset.fold_of) == len(content.dataset.splits["val"]) == 99


def test_the_fingerprint_is_that_of_the_images_not_of_the_folds(few_digits: Path, tmp_path: Path) -> None:
    data = DataConfig(root=few_digits, folds=3)
    prints = {
        examine_content(open_configured(each, Path("cache")), tmp_path / "cache").fingerprints
        for each in (
            data,
            data.model_copy(update={"folds": 5}),
            data.model_copy(update={"train_on": TrainedOn.TRAIN_AND_VAL}),
        )
    }
    assert len(prints) == 1

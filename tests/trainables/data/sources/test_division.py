import contextlib
import os
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from search_spaces.errors import InvalidInput
from trainables.data.arrays import open_used
from trainables.data.fingerprint import examine_content
from trainables.data.readers import open_dataset
from trainables.data.sources.division import divide, grouped
from trainables.data_config import DataConfig, SplitShares


@st.composite
def images(draw: st.DrawFn) -> list[tuple[str, str]]:
    sizes = draw(st.lists(st.integers(3, 40), min_size=2, max_size=5))
    return [(f"c{label}/{number}.jpg", f"c{label}") for label, size in enumerate(sizes) for number in range(size)]


@given(images(), st.floats(0.01, 0.4), st.sampled_from([0, 0.1, 0.3]), st.integers(0, 5), st.randoms())
def test_each_image_is_in_one_split_and_each_class_in_all(pairs, val, test, seed, random) -> None:
    shares = SplitShares(val=val, test=test, seed=seed)
    divided = divide("photos", {"train": pairs}, shares)
    assert sorted(pair for found in divided.values() for pair in found) == sorted(pairs)
    assert list(divided) == ["train", "val", "test"][: 3 if test else 2]
    counts = Counter(label for _, label in pairs)
    for split, share in (("val", val), ("test", test)):
        found = Counter(label for _, label in divided.get(split, ()))
        assert all(abs(found[label] - share * count) <= 1 for label, count in counts.items())
        assert not share or found.keys() == counts.keys()
    shuffled = random.sample(pairs, len(pairs))
    assert divide("elsewhere", {"train": shuffled}, shares) == divided


@given(images(), st.sampled_from([0, 0.1, 0.3]), st.randoms(), st.integers(1, 4))
def test_equal_files_of_a_class_are_in_one_split(pairs, test, random, kinds) -> None:
    """A class of few kinds of files is refused, any other has its images near the shares."""
    digests = {path: str(random.choice(range(2 + kinds))) for path, _ in pairs}
    shares = SplitShares(val=0.2, test=test)
    different = {label: {digests[path] for path, own in pairs if own == label} for _, label in pairs}
    needed = 3 if test else 2
    if min(map(len, different.values())) < needed:
        with pytest.raises(InvalidInput, match="must hold a different image for each"):
            divide("photos", {"train": pairs}, shares, digests)
        return
    divided = divide("photos", {"train": pairs}, shares, digests)
    assert sorted(pair for found in divided.values() for pair in found) == sorted(pairs)
    splits = {split: {(digests[path], label) for path, label in found} for split, found in divided.items()}
    assert sum(map(len, splits.values())) == sum(map(len, different.values())), "each kind is in one split"
    assert all({label for _, label in found} == different.keys() for found in splits.values())


def test_a_copy_that_is_removed_moves_no_other_image() -> None:
    pairs = [(f"{label}/{number}.jpg", label) for label in ("cat", "dog") for number in range(10)]
    digests = {path: path for path, _ in pairs} | {"cat/0.jpg": "same", "cat/1.jpg": "same", "cat/2.jpg": "same"}
    shares = SplitShares(val=0.3)
    before = divide("photos", {"train": pairs}, shares, digests)
    split = next(split for split, found in before.items() if ("cat/0.jpg", "cat") in found)
    assert {("cat/1.jpg", "cat"), ("cat/2.jpg", "cat")} <= {*before[split]}
    whole = divide("photos", {"train": pairs}, shares)
    assert divide("photos", {"train": pairs}, shares, {path: path for path, _ in pairs}) == whole


def test_another_seed_divides_otherwise() -> None:
    pairs = [(f"{label}/{number}.jpg", label) for label in ("cat", "dog") for number in range(20)]
    first, second = (divide("photos", {"train": pairs}, SplitShares(seed=seed))["val"] for seed in (0, 1))
    assert len(first) == len(second) == 6
    assert set(first) != set(second)


def test_the_assignment_is_the_same_in_every_version() -> None:
    pairs = [(f"{label}/{number}.jpg", label) for label in ("cat", "dog") for number in range(5)]
    divided = divide("photos", {"train": pairs}, SplitShares(val=0.2, test=0.2, seed=0))
    assert {split: [path for path, _ in found] for split, found in divided.items() if split != "train"} == {
        "val": ["cat/0.jpg", "dog/2.jpg"],
        "test": ["cat/4.jpg", "dog/0.jpg"],
    }


def test_a_name_in_the_form_of_a_mac_goes_to_the_same_split() -> None:
    names = ["café", "naïve", "übung", "señor", "ångström", "œuvre", "été", "île"]
    pairs = [(f"{label}/{name}.jpg", label) for label in ("cat", "dog") for name in names]
    of_a_mac = [(unicodedata.normalize("NFD", path), label) for path, label in pairs]
    here, there = (divide("photos", {"train": found}, SplitShares(val=0.4)) for found in (pairs, of_a_mac))
    assert {unicodedata.normalize("NFC", path) for path, _ in there["val"]} == {path for path, _ in here["val"]}


def test_splits_in_a_column_of_another_name_are_not_overlooked(classes: Path, tmp_path: Path) -> None:
    rows = [f"{path.relative_to(classes)},{path.parent.name}" for path in sorted(classes.rglob("*.png"))]
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join(["path,label,Usage", *(f"{row},Training" for row in rows[1:]), f"{rows[0]},test"]))
    with pytest.raises(InvalidInput, match=r"in no split, but the column 'Usage' holds Training and the like; rename"):
        sizes(classes, manifest)
    for name in ("fold", "Is_Valid"):
        manifest.write_text("\n".join([f"path,label,{name}", *(f"{row},{n % 2}" for n, row in enumerate(rows))]))
        with pytest.raises(InvalidInput, match=rf"but the column '{name}' assigns them; write a column split with"):
            sizes(classes, manifest)
    manifest.write_text("\n".join(["path,label,camera", *(f"{row},{number % 5}" for number, row in enumerate(rows))]))
    assert sizes(classes, manifest) == {"train": 15, "val": 3}


def test_a_split_that_is_filled_in_for_some_rows_alone_is_refused(classes: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label,split\ncat/0.png,cat,train\ncat/1.png,cat,\n")
    with pytest.raises(InvalidInput, match=r"m.csv:3: split must be one of .* in every row, got none; fill it in, or"):
        sizes(classes, manifest)


@pytest.mark.parametrize(
    ("entries", "shares", "message"),
    [
        ({"train": [("a", "cat")], "val": [("b", "cat")]}, {}, "for images without val, got a val; leave out"),
        ({"train": [("a", "cat")], "test": [("b", "cat")]}, {"test": 0.1}, "got a test and 0.1; leave out"),
        ({"train": [("a", "cat")]}, {}, "a different image for each of train, val, got 1 in cat; add images to it,"),
        (
            {"train": [("a", "cat"), ("b", "dog"), ("c", "fox"), ("d", "fox")]},
            {},
            "for each of train, val, got 1 in cat, 1 in dog; add images to them, or remove the classes",
        ),
        (
            {"train": [(name, name) for name in "abcdefgh"]},
            {},
            "got 1 in a, 1 in b, 1 in c, 1 in d, 1 in e and 3 more such classes; add images",
        ),
        (
            {"train": [("a", "cat"), ("b", "cat")]},
            {"test": 0.1},
            "a different image for each of train, val, test, got 2 in cat; add images to it, or remove the class",
        ),
        (
            {"train": [("a", "cat"), ("b", "cat"), ("c", "cat")]},
            {"val": 0.9},
            "val take 3 of the 3 of cat; lower a share",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused(entries, shares, message) -> None:
    with pytest.raises(InvalidInput, match=message):
        divide("photos", entries, SplitShares(**shares))


# ---- the three layouts ----------------------------------------------------------------------------------------------


@pytest.fixture
def classes(tmp_path: Path, write_image) -> Path:
    """Three classes of six images, in no split."""
    for label in ("cat", "dog", "fox"):
        for number in range(6):
            write_image(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


def sizes(root: Path, manifest: Path | None = None, **shares) -> dict[str, int]:
    dataset = open_dataset(root, manifest, shares=SplitShares(**shares))
    assert len(dataset.classes) == 3
    return {split: len(samples) for split, samples in dataset.splits.items()}


def test_a_folder_of_classes(classes: Path) -> None:
    (classes / "readme.md").write_text("photos of pets")
    assert sizes(classes, val=0.34, test=0.17) == {"train": 9, "val": 6, "test": 3}
    assert open_dataset(classes, shares=SplitShares()).remarks == (f"{classes}: 1 file left out (1 .md)",)


def test_a_test_that_is_there_is_kept(classes: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    classes.rename(tmp_path / "root" / "Train")
    (tmp_path / "root" / "test" / "cat").mkdir(parents=True)
    (tmp_path / "root" / "Train" / "cat" / "0.png").rename(tmp_path / "root" / "test" / "cat" / "0.png")
    assert sizes(tmp_path / "root", val=0.2) == {"train": 14, "val": 3, "test": 1}
    with pytest.raises(InvalidInput, match=r"folder val/ is required, got Train/, test/.*data.split: \{val: 0.15\}"):
        open_dataset(tmp_path / "root")


def test_a_manifest_with_and_without_splits(classes: Path, tmp_path: Path) -> None:
    rows = [f"{path.relative_to(classes)},{path.parent.name}" for path in sorted(classes.rglob("*.png"))]
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join(["path,label", *rows]))
    plain = open_dataset(classes, manifest, shares=SplitShares(val=0.2))
    assert plain.splits == open_dataset(classes, shares=SplitShares(val=0.2)).splits
    with pytest.raises(InvalidInput, match=r"add split to its first line.*data.split: \{val: 0.15\}"):
        open_dataset(classes, manifest)
    words = ["test" if row.startswith("cat/0") else "training" for row in rows]
    manifest.write_text(
        "\n".join(["path,label,split", *(f"{row},{word}" for row, word in zip(rows, words, strict=True))])
    )
    assert sizes(classes, manifest, val=0.2) == {"train": 14, "val": 3, "test": 1}
    with pytest.raises(InvalidInput, match="split val must hold images"):
        open_dataset(classes, manifest)


def test_an_empty_class_is_named(classes: Path) -> None:
    (classes / "bird").mkdir()
    with pytest.raises(InvalidInput, match=r"photos: every class of train must hold images, got none in bird"):
        open_dataset(classes, shares=SplitShares())


def test_without_the_setting_a_folder_of_classes_is_refused_with_it(classes: Path) -> None:
    with pytest.raises(InvalidInput, match=r"got cat/, dog/, fox/; .* set `data.split: \{val: 0.15, test: 0.15\}`"):
        open_dataset(classes)


def test_images_in_no_class_folder_are_refused(classes: Path) -> None:
    for folder in sorted(classes.iterdir()):
        for image in folder.iterdir():
            image.rename(classes / f"{folder.name}{image.name}")
        folder.rmdir()
    with pytest.raises(InvalidInput, match=r"photos: images must lie in one folder.*, got 18 in no class folder"):
        open_dataset(classes, shares=SplitShares())


def test_a_link_to_the_folder_itself_is_no_class(classes: Path) -> None:
    before = open_dataset(classes, shares=SplitShares())
    (classes / "again").symlink_to(".")
    (classes / "above").symlink_to("..")
    assert open_dataset(classes, shares=SplitShares()) == before


def test_a_class_may_be_named_as_a_split(classes: Path) -> None:
    (classes / "cat").rename(classes / "train")
    assert open_dataset(classes, shares=SplitShares()).classes == ("dog", "fox", "train")


@pytest.mark.parametrize("split", ["train", "val", "Test"])
def test_a_split_beside_classes_is_refused(classes: Path, split: str) -> None:
    (classes / "cat").rename(classes / "inside")
    (classes / split).mkdir()
    (classes / "inside").rename(classes / split / "cat")
    with pytest.raises(InvalidInput, match=rf"photos: data.split divides .*, got .*{split}/.*; .*move the others away"):
        open_dataset(classes, shares=SplitShares())


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=rf"{tmp_path.name}: images must lie in one .*, got none; make one folder"):
        open_dataset(tmp_path, shares=SplitShares())


def test_folders_without_images_are_not_offered_to_be_divided(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(InvalidInput) as refused:
        open_dataset(tmp_path)
    assert "data.split" not in str(refused.value)


def moved(classes: Path, *pairs: tuple[str, str]) -> Path:
    for old, new in pairs:
        (classes / new).parent.mkdir(parents=True, exist_ok=True)
        (classes / old).rename(classes / new)
    return classes


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ("train", "val", r"data.split is for images without val, got a val"),
        ("Training", "Testing", r"data.split.test is for images without test, got a test and 0.1"),
        ("train_set", "test-set", r"; test-set/, train_set/ may be splits: rename them if they are classes"),
        ("train", "Train", r"split train must be one folder, got Train and train; merge them"),
    ],
)
@pytest.mark.parametrize("is_loose", [False, True])
def test_splits_are_never_taken_for_classes(
    classes: Path, write_image, train: str, test: str, said: str, is_loose: bool
) -> None:
    """Also where an image lies beside the folders of the classes."""
    for label in ("cat", "dog", "fox"):
        moved(classes, *((f"{label}/{number}.png", f"{test}/{label}/{number}.png") for number in range(2)))
        moved(classes, (label, f"{train}/{label}"))
    if is_loose:
        write_image(classes / train / "overview.png")
        write_image(classes / test / "overview.png")
    with pytest.raises(InvalidInput, match=said):
        open_dataset(classes, shares=SplitShares(val=0.2, test=0.1))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("train", "test"), r"split train must hold images, got 6 in train/ itself, in no class folder; make one"),
        (("TrainSet", "ValSet"), r"got TrainSet/, ValSet/; .* may be splits: rename them if they are classes"),
        (("cats_train", "cats_val"), r"got cats_train/, cats_val/; .* may be splits"),
        (("Training",), r"split train must hold images, got 6 in Training/ itself"),
    ],
)
def test_splits_without_folders_of_classes_are_never_taken_for_classes(
    classes: Path, names: tuple[str, ...], said: str
) -> None:
    for label, name in zip(("cat", "dog"), names, strict=False):
        moved(classes, (label, name))
    for label in {"cat", "dog", "fox"} & {path.name for path in classes.iterdir()}:
        shutil.rmtree(classes / label)
    with pytest.raises(InvalidInput, match=said):
        open_dataset(classes, shares=SplitShares())


def test_classes_that_all_stand_for_train_are_classes(classes: Path) -> None:
    moved(classes, ("cat", "train_blue"), ("dog", "train_red"), ("fox", "train_green"))
    assert len(open_dataset(classes, shares=SplitShares()).classes) == 3


def test_classes_one_folder_deeper_are_refused_or_remarked_upon(classes: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=rf"got photos/ alone, which holds cat/, dog/, fox/; set data.root to {classes}"
    ):
        open_dataset(tmp_path, shares=SplitShares())
    shutil.copytree(classes, tmp_path / "more")
    (remark,) = open_dataset(tmp_path, shares=SplitShares()).remarks
    assert "the classes are more/, photos/, and each holds cat/, dog/, fox/: if these are the classes, list" in remark
    (tmp_path / "more" / "cat").rename(tmp_path / "more" / "siamese")
    found = open_dataset(tmp_path, shares=SplitShares())
    assert (found.classes, found.remarks) == (("more", "photos"), ()), "images may lie deeper"


def test_classes_named_as_splits_are_classes(classes: Path) -> None:
    moved(classes, ("cat", "train"), ("dog", "testing"))
    assert open_dataset(classes, shares=SplitShares(val=0.2)).classes == ("fox", "testing", "train")


def test_splits_below_classes_are_refused(classes: Path) -> None:
    moved(classes, ("cat/0.png", "cat/val/0.png"), ("cat/1.png", "cat/train/1.png"))
    with pytest.raises(InvalidInput, match=r"got cat/train/ and cat/val/; move the images to train/cat/"):
        open_dataset(classes, shares=SplitShares())


@pytest.mark.parametrize("layout", ["flat", "empty", "TEST"])
def test_a_test_without_labels_is_left_out_where_it_is_not_used(classes: Path, layout: str) -> None:
    for label in ("cat", "dog", "fox"):
        moved(classes, (label, f"train/{label}"))
    (classes / ("TEST" if layout == "TEST" else "test")).mkdir()
    if layout != "empty":
        moved(classes, ("train/cat/0.png", f"{'TEST' if layout == 'TEST' else 'test'}/0.png"))
    dataset = open_dataset(classes, splits=("train", "val"), shares=SplitShares(val=0.2))
    assert {split: len(found) for split, found in dataset.splits.items()} == {
        "train": 15 if layout == "empty" else 14,
        "val": 3,
    }


def test_the_division_stays_when_images_that_were_skipped_are_removed(classes: Path, tmp_path: Path) -> None:
    """Be a bad image the only one of its class in val."""
    shares = SplitShares(val=0.2, test=0.2)
    bad = open_dataset(classes, shares=shares).splits["val"][0].path
    (classes / bad).write_bytes(b"no image")
    listed = open_dataset(classes, shares=shares)
    skipped = examine_content(listed, tmp_path / "cache", "skip")
    assert sum(map(len, skipped.dataset.splits.values())) == 17
    again = examine_content(listed, tmp_path / "cache", "skip")
    assert (again.dataset, again.fingerprints) == (skipped.dataset, skipped.fingerprints), "from the shortcut"
    (classes / bad).unlink()
    removed = examine_content(open_dataset(classes, shares=shares), tmp_path / "cache", "skip")
    assert removed.fingerprints == skipped.fingerprints
    assert removed.dataset.splits == skipped.dataset.splits


def test_equal_photos_are_kept_together_once_they_are_read(classes: Path, tmp_path: Path) -> None:
    """In the order of their names alone, some copies would be in val and others in train."""
    for number in range(6):
        (classes / "cat" / f"copy{number}.png").write_bytes((classes / "cat" / "0.png").read_bytes())
    listed = open_dataset(classes, shares=SplitShares(val=0.3))
    for _ in ("read", "remembered"):
        content = examine_content(listed, tmp_path / "cache")
        copies = {
            split
            for split, samples in content.dataset.splits.items()
            for sample in samples
            if sample.path == "cat/0.png" or sample.path.startswith("cat/copy")
        }
        assert len(copies) == 1
    data = DataConfig(root=classes, split=SplitShares(val=0.3))
    assert open_used(data, tmp_path / "cache") == content.dataset
    others = examine_content(open_dataset(classes, shares=SplitShares(val=0.3, seed=1)), tmp_path / "cache")
    assert others.fingerprints != content.fingerprints


def test_near_duplicates_and_patients_are_kept_together_once_they_are_read(classes: Path, tmp_path: Path) -> None:
    """From the shortcut too, and not from that of other patients."""
    names = [path.relative_to(classes).as_posix() for path in sorted(classes.rglob("*.png"))]
    with Image.open(classes / "cat" / "0.png") as image:
        for label in ("cat", "dog"):
            for number in range(3):
                larger = image.resize((200 + 9 * number, 170), Image.Resampling.BICUBIC)
                larger.save(classes / label / f"near{number}.jpg")
    near = [f"{label}/near{number}.jpg" for label in ("cat", "dog") for number in range(3)]
    shares = SplitShares(val=0.3, together="near_duplicates", group_by="patient")
    found = []
    for patients in (6, 6, 3):
        rows = [f"{path},{path[:3]},{number % patients}" for number, path in enumerate(names)]
        rows += [f"{path},{path[:3]}," for path in near]
        (tmp_path / "m.csv").write_text("\n".join(["path,label,patient", *rows]))
        content = examine_content(open_dataset(classes, tmp_path / "m.csv", shares=shares), tmp_path / "cache")
        split_of = {sample.path: split for split, own in content.dataset.splits.items() for sample in own}
        assert len({split_of[path] for path in near}) == 1
        for patient in range(patients):
            assert len({split_of[path] for number, path in enumerate(names) if number % patients == patient}) == 1
        found.append(content)
    assert found[0] == found[1]
    assert found[0].fingerprints != found[2].fingerprints


def test_a_class_that_is_too_small_without_its_bad_images_names_them(classes: Path, tmp_path: Path) -> None:
    for number in range(5):
        (classes / "cat" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(InvalidInput, match=r"got 1 in cat; add .* Left out, since they cannot be decoded: cat/0.png,"):
        examine_content(open_dataset(classes, shares=SplitShares()), tmp_path / "cache", "skip")


def test_divisions_that_differ_without_the_bad_images_alone_are_told_apart(tmp_path: Path, write_image) -> None:
    """With the bad one of three images among them, two seeds may divide alike."""
    photos, cache = tmp_path / "photos", tmp_path / "cache"
    for label in ("cat", "dog"):
        for number in range(3):
            write_image(photos / label / f"{number}.png")
    (photos / "cat" / "0.png").write_bytes(b"no image")
    found = {}
    for seed in range(12):
        dataset = open_dataset(photos, shares=SplitShares(val=0.2, seed=seed))
        content = examine_content(dataset, cache, "skip")
        assert content.fingerprints == examine_content(dataset, tmp_path / f"cache{seed}", "skip").fingerprints
        found[content.fingerprints.trained] = content.dataset.splits["val"]
    assert len(found) > 1


def test_a_folder_with_two_links_is_divided_alike_in_any_order_of_the_disk(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (classes / "cat").rename(tmp_path / "pool")
    (classes / "cat").mkdir()
    for name in ("x", "y"):
        (classes / "cat" / name).symlink_to(tmp_path / "pool")
    before = open_dataset(classes, shares=SplitShares())
    scandir = os.scandir

    @contextlib.contextmanager
    def reversed_scandir(folder):
        with scandir(folder) as entries:
            yield reversed([*entries])

    monkeypatch.setattr(os, "scandir", reversed_scandir)
    assert open_dataset(classes, shares=SplitShares()) == before


def test_a_class_of_bad_images_alone_is_named(classes: Path, tmp_path: Path) -> None:
    for image in (classes / "fox").iterdir():
        image.write_bytes(b"no image")
    with pytest.raises(
        InvalidInput, match=r"every class of train must keep an image .* got none that can be decoded in fox"
    ):
        examine_content(open_dataset(classes, shares=SplitShares()), tmp_path / "cache", "skip")


def test_images_in_no_split_are_refused_with_the_settings() -> None:
    with pytest.raises(ValueError, match=r"split.test must be left out where test is none, got 0.2"):
        DataConfig(root=Path("photos"), test="none", split=SplitShares(test=0.2))


# ---- groups of several classes --------------------------------------------------------------------------------------

NEAR = {"together": "near_duplicates"}


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[tuple[str, str]], dict[str, int], dict[str, str]]:
    """Images of scenes, most of one class; with their hashes, and the patient of some."""
    random = draw(st.randoms(use_true_random=False))
    hashes, pairs, marks = {}, [], {}
    for scene in range(draw(st.integers(12, 60))):
        labels = random.choice(["a", "b", "c", "a", "b", "c", draw(st.sampled_from(["ab", "abc", "a"]))])
        base = random.getrandbits(64)
        for number in range(draw(st.integers(1, 4))):
            label = random.choice(labels)
            path = f"{label}/{scene}_{number}.jpg"
            pairs.append((path, label))
            hashes[path] = base ^ (1 << number)
            if scene % 9 == 0:
                marks[path] = f"patient{scene // 18}"
    return pairs, hashes, marks


@given(scenes(), st.integers(0, 3), st.booleans(), st.randoms(use_true_random=False))
def test_groups_are_never_torn_and_shares_are_met_within_the_largest(found, seed, has_marks, random) -> None:
    pairs, hashes, marks = found
    shares = SplitShares(val=0.2, test=0.2, seed=seed, group_by="patient" if has_marks else None, **NEAR)
    known = marks if has_marks else {}
    groups = grouped(pairs, shares, {}, hashes, known)
    kinds = Counter(label for group in groups for label in {label for _, label in group})
    try:
        divided = divide("photos", {"train": pairs}, shares, {}, hashes, known)
    except InvalidInput as error:
        assert min(kinds.values()) < 3 or "leave none" in str(error) or "lower a share" in str(error)
        return
    assert sorted(pair for own in divided.values() for pair in own) == sorted(pairs)
    split_of = {path: split for split, own in divided.items() for path, _ in own}
    assert all(len({split_of[path] for path, _ in group}) == 1 for group in groups)
    assert all({label for _, label in own} == kinds.keys() for own in divided.values())
    sizes, largest = Counter(label for _, label in pairs), max(map(len, groups))
    for split in ("val", "test"):
        have = Counter(label for _, label in divided[split])
        assert all(abs(have[label] - max(1, round(0.2 * size))) <= largest for label, size in sizes.items())
    shuffled = random.sample(pairs, len(pairs))
    assert divide("elsewhere", {"train": shuffled}, shares, {}, hashes, known) == divided

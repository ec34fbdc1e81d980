import gzip
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from data_formats import write_folders, write_tar
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import InvalidInput
from trainables.data.readers import Dataset, open_dataset
from trainables.data.sources.listing import Listing
from trainables.data.sources.source_files import DiskFiles
from trainables.data.sources.tar_shards import read_shards
from trainables.data_config import SplitShares

PNG = b"\x89PNG not decoded here"


def _read(root: Path, **options: Any) -> Listing:
    return read_shards(DiskFiles(root), ("train", "val", "test"), root.with_name("cache"), **options)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    (tmp_path / "shards").mkdir()
    return tmp_path / "shards"


@pytest.mark.parametrize(
    ("ending", "content", "label"),
    [
        ("cls", b"1", "dog"),
        ("cls", b"dog\n", "dog"),
        ("json", b'{"label": 1, "author": "x"}', "dog"),
        ("json", b'{"class_name": "dog"}', "dog"),
        ("json", b"0", "cat"),
        ("txt", b" dog ", "dog"),
    ],
)
def test_a_class_is_in_a_file_of_the_sample(shards: Path, ending: str, content: bytes, label: str) -> None:
    (shards / "classnames.txt").write_text("cat\ndog\n")
    write_tar(shards / "train-000000.tar", [("a.jpg", PNG), (f"a.{ending}", content)])
    write_tar(shards / "val-000000.tar", [("b.image.JPG", PNG), (f"b.{ending}", content)])
    found = _read(shards)
    assert found.entries == {"train": [(f"train/{label}/a.jpg", label)], "val": [(f"val/{label}/b.image.JPG", label)]}
    assert (found.root / f"train/{label}/a.jpg").read_bytes() == PNG
    assert found.remarks == ()


def test_without_class_names_a_class_is_its_number(shards: Path) -> None:
    write_tar(shards / "train-0.tar", [("a.jpg", PNG), ("a.cls", b"7"), ("a.json", b"{}"), ("a.txt", b"a caption")])
    assert _read(shards).entries == {"train": [("train/7/a.jpg", "7")]}


def test_shards_are_read_in_order_and_equal_names_are_kept_apart(shards: Path) -> None:
    for number in (1, 0):
        members = [("cat/a.jpg", b"%d" % number), ("dog/a.jpg", PNG), ("cat/a.jpg", b"again")]
        with gzip.open(shards / f"train-{number}.tar.gz", "wb") as file:
            buffer = shards / "plain"
            write_tar(buffer, members)
            file.write(buffer.read_bytes())
            buffer.unlink()
    found = _read(shards)
    paths = [path for path, _ in found.entries["train"]]
    assert paths[:3] == ["train/cat/a.jpg", "train/dog/a.jpg", "train/cat/train-0/a.jpg"]
    assert len({*paths}) == 6
    assert sorted((found.root / path).read_bytes() for path in paths) == sorted(
        [b"0", b"1", PNG, PNG, b"again", b"again"]
    )


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


def test_links_and_devices_never_leave_the_folder(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with tarfile.open(shards / "train-0.tar", "w") as tar:
        for member in (
            _member("cat/link.jpg", tarfile.SYMTYPE, str(tmp_path / "secret.jpg")),
            _member("cat/hard.jpg", tarfile.LNKTYPE, str(tmp_path / "secret.jpg")),
            _member("cat", tarfile.SYMTYPE, str(tmp_path)),
            _member("cat/device.jpg", tarfile.CHRTYPE),
            _member("cat/pipe.jpg", tarfile.FIFOTYPE),
            _member("cat/._a.jpg"),
            _member("cat/notes.md"),
            _member("/cat/a.jpg"),
        ):
            tar.addfile(member)
    found = _read(shards)
    assert found.entries == {"train": [("train/cat/a.jpg", "cat")]}
    assert found.remarks == ("7 files left out (5 link or device, 1 hidden, 1 .md)",)
    assert not any(path.is_symlink() for path in found.root.rglob("*"))


@pytest.mark.parametrize("name", ["../a.jpg", "cat/../../a.jpg", "/../cat/a.jpg"])
def test_a_name_that_leads_out_is_refused(shards: Path, tmp_path: Path, name: str) -> None:
    write_tar(shards / "train-0.tar", [(name, PNG)])
    with pytest.raises(InvalidInput, match=r"train-0.tar: every file must have a name that stays within, got"):
        _read(shards)
    assert list(tmp_path.rglob("*.jpg")) == []


def test_a_bomb_is_refused(shards: Path) -> None:
    with tarfile.open(shards / "train-0.tar.gz", "w:gz") as tar:
        tar.addfile(_member("cat/a.bmp", size=100 << 20), io.BytesIO(bytes(100 << 20)))
    with pytest.raises(InvalidInput, match=r"a shard must hold at most 100 times its own [0-9,]+ bytes, got more at"):
        _read(shards)
    assert [*shards.with_name("cache").rglob("*.bmp")] == []


# Where the second file of a whole shard begins: behind a header and the content of the first, in blocks.
_SECOND = 512 + -(-len(PNG * 1000) // 512) * 512


def _whole(shards: Path) -> bytes:
    write_tar(shards / "train-0.tar", [("cat/a.jpg", PNG * 1000), ("dog/b.jpg", PNG * 1000)])
    return (shards / "train-0.tar").read_bytes()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda whole: whole[:30_000], "unexpected end of data"),
        (lambda whole: whole[:_SECOND], "no end of the archive"),
        (lambda whole: gzip.compress(whole[:_SECOND]), "no end of the archive"),
        (lambda whole: whole + whole, "data behind its end: a damaged header, or two archives in one file"),
        (lambda whole: whole.replace(b"dog/b.jpg", b"dog/c.jpg"), "data behind its end: a damaged header"),
        (lambda whole: gzip.compress(whole)[:-8] + bytes(8), "CRC check failed"),
        (lambda whole: b"x" * 5000, "no tar archive, plain or compressed;"),
        (lambda whole: b"", "an empty file;"),
        (lambda whole: gzip.compress(whole)[:-50], "end-of-stream|unexpected end"),
    ],
)
def test_a_damaged_shard_is_named(shards: Path, damage: Callable[[bytes], bytes], said: str) -> None:
    (shards / "train-0.tar").write_bytes(damage(_whole(shards)))
    with pytest.raises(InvalidInput, match=rf"train-0.tar: must be a whole file of its format, got: .*({said})"):
        _read(shards)


@pytest.mark.parametrize("options", [("-c",), ("-c", "-z"), ("-c", "-J"), ("-c", "-j"), ("-c", "-b", "1")])
def test_what_gnu_tar_writes_is_whole(shards: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.jpg").write_bytes(PNG)
    subprocess.run(["tar", *options, "-f", shards / "train-0.tar", "-C", tmp_path, "cat"], check=True)
    assert _read(shards).entries == {"train": [("train/cat/a.jpg", "cat")]}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w|", "w|gz"])
def test_what_python_writes_is_whole(shards: Path, mode: Any) -> None:
    with tarfile.open(str(shards / "train-0.tar"), mode) as tar:
        tar.addfile(_member("cat/a.jpg"))
    assert _read(shards).entries == {"train": [("train/cat/a.jpg", "cat")]}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("a.cls", b"cat"), ("a.jpg", PNG), ("a.cls", b"dog")], r"got a second .cls for 'a'; give each sample a key"),
        ([("x/a.cls", b"cat"), ("x/a.jpg", PNG), ("x/a.CLS", b"cat")], r"got a second .cls for 'x/a'"),
        ([("a.cls", b"cat"), ("a.jpg", PNG), ("a.jpg", PNG)], r"got 'a.jpg' and 'a.jpg' for 'a'; give each image"),
        ([("a.cls", b"cat"), ("a.jpg", PNG), ("a.png", PNG)], r"one image, named by its key, got 'a.jpg' and 'a.png'"),
        ([("a.cls", b"cat"), ("a.left.jpg", PNG), ("a.right.jpg", PNG)], r"got 'a.left.jpg' and 'a.right.jpg' for 'a'"),
    ],
)
def test_a_key_is_that_of_one_sample(shards: Path, members: list[tuple[str, bytes]], said: str) -> None:
    write_tar(shards / "train-0.tar", members)
    with pytest.raises(InvalidInput, match=rf"train-0.tar: every .* must .*{said}"):
        _read(shards)


def test_the_photo_of_a_sample_is_named_by_its_key(shards: Path) -> None:
    members = [("0.jpg", PNG), ("0.seg.png", PNG), ("0.CLS", b"cat"), ("1.seg.png", PNG), ("1.cls", b"dog")]
    write_tar(shards / "train-0.tar", [*members, ("2.5.jpg", PNG), ("2.5.cls", b"dog")])
    found = _read(shards)
    assert found.entries == {"train": [("train/cat/0.jpg", "cat"), ("train/dog/2.5.jpg", "dog")]}
    assert found.remarks == ("2 files left out (2 beside the photo of a sample)",)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["train-00000-of-00003"],
            "all 3 files of a split .* got 1, without train-00001-of-00003, train-00002-of-00003;",
        ),
        (["train/1-of-9", "train/9-of-9"], "got 2, without train/2-of-9, train/3-of-9, train/4-of-9 and 4 more; copy"),
        (["train-0-of-1", "val-1-of-2"], "all 2 files of a split must be there, got 1, without val-0-of-2; copy the"),
        (["train-0-of-1", "val-1-of-2", "val-2-of-2", "test-0-of-2"], None),
    ],
)
def test_a_part_of_the_shards_is_refused(shards: Path, names: list[str], said: str | None) -> None:
    for name in names:
        write_tar(shards / f"{name}.tar", [("cat/a.jpg", PNG)])
    source, cache = DiskFiles(shards), shards.with_name("cache")
    if said is None:
        assert {*read_shards(source, ("train", "val"), cache).entries} == {"train", "val"}
        return
    with pytest.raises(InvalidInput, match=said):
        read_shards(source, ("train", "val"), cache)
    one = read_shards(DiskFiles(shards / f"{names[0]}.tar"), ("train", "val"), cache)
    assert [label for pairs in one.entries.values() for _, label in pairs] == ["cat"]


def test_two_numbers_of_one_class_are_refused(shards: Path) -> None:
    (shards / "classes.txt").write_text("cat\ndog\ncat\n")
    write_tar(shards / "train-0.tar", [("a.jpg", PNG), ("a.cls", b"2")])
    with pytest.raises(
        InvalidInput, match=r"classes.txt: every class must have a name of its own, got 'cat' for 0 and 2"
    ):
        _read(shards)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("a.jpg", PNG)], r"a class in a .cls, .json or .txt of its name.*got 'a.jpg' with no folder; write"),
        ([("x/a.jpg", PNG), ("x/b.jpg", PNG), ("x/b.cls", b"1")], "got 'x/a.jpg' with 1 labels for other images"),
        ([("a.jpg", PNG), ("a.cls", b"2")], r"one of the 2 that are named beside the shards.*got '2' for 'a.jpg'"),
        ([("a.jpg", PNG), ("a.json", b"{")], r".json of 'a.jpg' must be json in UTF-8, got"),
        ([("a.jpg", PNG), ("a.json", b'{"name": 1}')], r"must have one field label, got \['name'\]"),
        ([("a.jpg", PNG), ("a.txt", b"two\nlines")], "must hold one class in one line"),
    ],
)
def test_a_class_that_is_not_there_is_refused(shards: Path, members: list[tuple[str, bytes]], said: str) -> None:
    (shards / "classes.txt").write_text("cat\ndog\n")
    write_tar(shards / "train-0.tar", members)
    with pytest.raises(InvalidInput, match=said):
        _read(shards)


def test_splits_are_those_of_the_names_or_the_data_is_divided(shards: Path) -> None:
    write_tar(shards / "a.tar", [(f"{label}/{number}.jpg", PNG) for label in ("cat", "dog") for number in range(4)])
    with pytest.raises(InvalidInput, match=r"named by its split, as in train-000000.tar.*or set `data.split"):
        open_dataset(shards, cache=shards.with_name("cache"))
    found: Dataset = open_dataset(shards, shares=SplitShares(val=0.25), cache=shards.with_name("cache"))
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 6, "val": 2}
    write_tar(shards / "train-0.tar", [("cat/0.jpg", PNG)])
    with pytest.raises(InvalidInput, match=r"every file must be named by its split, or none, got train and 8 images"):
        open_dataset(shards, shares=SplitShares(val=0.25), cache=shards.with_name("cache"))
    write_tar(shards / "train_val.tar", [("cat/0.jpg", PNG)])
    with pytest.raises(InvalidInput, match=r"train_val.tar: must be named by one split, got train and val; rename"):
        _read(shards)


@pytest.mark.parametrize("around", [".", "photos"])
def test_one_archive_may_be_the_data_set(tmp_path: Path, around: str) -> None:
    root = write_folders(tmp_path / "folders", {"train": 3, "val": 2})
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(root, arcname=around)
    found = open_dataset(tmp_path / "photos.tar", cache=tmp_path / "cache")
    assert found.splits == open_dataset(root).splits


NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=12)
ODD = NAMES | st.sampled_from(["a\nb", "\U0001f408", "caf\udce9", "-rf", "a b", "..a", "con", "a" * 200, "%2F", "\\"])


@given(st.lists(st.tuples(st.sampled_from(["", "x/", "x/y/", "./", "/"]), ODD), min_size=1, max_size=8, unique=True))
def test_odd_names_are_read_as_they_are_or_refused(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("odd") / "shards"
    members = [
        (f"cat/{inner.lstrip('/.')}{name}.jpg", f"{number}".encode()) for number, (inner, name) in enumerate(names)
    ]
    write_tar(folder / "train-0.tar", members)
    try:
        found = _read(folder)
    except InvalidInput as error:
        assert "every" in str(error) or "path" in str(error)
        return
    hidden = [name for name, _ in members if any(part.startswith(".") for part in PurePosixPath(name).parts)]
    entries = found.entries.get("train", [])
    assert len(entries) == len(members) - len(hidden)
    read = sorted((found.root / path).read_bytes() for path, _ in entries)
    assert read == sorted(content for name, content in members if name not in hidden)
    assert {label for _, label in entries} <= {"cat"}
    outside = [path for path in folder.parent.rglob("*") if path.is_file() and path.suffix == ".jpg"]
    assert all(os.fsencode(path).startswith(os.fsencode(found.root)) for path in outside)

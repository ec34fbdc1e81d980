import logging
from pathlib import Path

import pytest

from search_spaces.errors import InvalidInput, StorageFailed
from trainables.data.sources import source_files
from trainables.data.sources.source_files import BucketFiles, DiskFiles
from trainables.storage.bucket import BucketObject, BucketPath


def test_files_of_a_folder_are_those_where_containers_lie(tmp_path: Path) -> None:
    for name in ("a.tar", "data/b.tar", "data/train/c.tar", "Test_set/d.tar", "cat/e.tar", "train/val/f.tar", ".g.tar"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12")
    source = DiskFiles(tmp_path)
    assert [file.name for file in source.files] == ["Test_set/d.tar", "a.tar", "data/b.tar", "data/train/c.tar"]
    assert {file.size for file in source.files} == {2}
    assert not source.has_images()
    (tmp_path / "cat" / "x.JPG").touch()
    assert source.has_images()
    single = DiskFiles(tmp_path / "a.tar")
    assert [single.path(file) for file in single.files] == [tmp_path / "a.tar"]


def test_a_file_that_is_replaced_is_another_version(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"12")
    before = DiskFiles(tmp_path).files
    (tmp_path / "b").write_bytes(b"34")
    (tmp_path / "b").replace(tmp_path / "a.tar")
    assert DiskFiles(tmp_path).files != before


def _put(place: BucketPath, *names: str) -> None:
    for name in names:
        (place / name).write_bytes(name.encode())


def test_objects_are_fetched_once_for_each_version(
    bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_files, "_SECONDS", -1.0)
    caplog.set_level(logging.INFO)
    place = BucketPath.parse(f"{bucket}/photos")
    names = ["train/c\u00e4t \U0001f408/a+b %20.jpg", "val/x.jpg"]
    _put(place, *names, ".hidden", "train/.DS_Store", "@eaDir/x.jpg")
    _put(BucketPath.parse(bucket), "photos-2/y.jpg")
    done: list[tuple[int, int]] = []
    folder = BucketFiles(place).fetched(tmp_path, lambda *each: done.append(each))
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == names
    assert (folder / names[0]).read_bytes() == names[0].encode()
    assert done == [(1, 2), (2, 2)]
    begun, one, all_of_them = (record.getMessage() for record in caplog.records if str(place) in record.getMessage())
    assert begun == f"{place}: fetching 2 files into {tmp_path}, once per node"
    assert (one, all_of_them) == (f"{place}: 1 of 2 files fetched", f"{place}: 2 of 2 files fetched")
    assert BucketFiles(place).fetched(tmp_path, pytest.fail) == folder
    (place / "val/x.jpg").write_bytes(b"other")
    newer = BucketFiles(place).fetched(tmp_path)
    assert (newer / "val/x.jpg").read_bytes() == b"other"
    assert (folder / "val/x.jpg").read_bytes() == b"val/x.jpg"


def test_an_object_that_is_replaced_meanwhile_is_refused(bucket: str, tmp_path: Path) -> None:
    place = BucketPath.parse(f"{bucket}/photos")
    _put(place, "train/a.jpg")
    source = BucketFiles(place)
    assert len(source.files) == 1
    (place / "train/a.jpg").write_bytes(b"other")
    with pytest.raises(StorageFailed, match=r"photos/train/a.jpg: must stay as it is while it is fetched"):
        source.fetched(tmp_path)
    assert list(tmp_path.rglob("*.jpg")) == []
    with pytest.raises(StorageFailed, match="must be within reach, got: 5 of 9 bytes"):
        place.fetch(BucketObject("train/a.jpg", 9, place.objects()[0].etag), tmp_path / "a")


def test_odd_objects_are_refused(bucket: str, tmp_path: Path) -> None:
    place = BucketPath.parse(f"{bucket}/photos")
    with pytest.raises(InvalidInput, match=r"data.root must be a folder of a bucket.*got no objects there; check"):
        BucketFiles(place).fetched(tmp_path)
    _put(place, "train/a.jpg", "train/a.jpg/b.jpg")
    with pytest.raises(InvalidInput, match=r"no two objects may be one file, or a file and its folder, got 'train/a"):
        BucketFiles(place).fetched(tmp_path)
    with pytest.raises(StorageFailed, match="create the bucket, or correct its name"):
        BucketFiles(BucketPath.parse("s3://no-such-bucket-here")).fetched(tmp_path)

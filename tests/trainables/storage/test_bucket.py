import itertools
import logging
import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from search_spaces.errors import InvalidInput, StorageFailed
from trainables.storage import bucket as module
from trainables.storage.bucket import BucketPath
from trainables.storage.place import as_place, storage_errors


def test_paths() -> None:
    path = BucketPath.parse("s3://my-bucket/team//runs/") / "trash" / "run.json"
    assert str(path) == "s3://my-bucket/team/runs/trash/run.json"
    assert (path.name, path.stem, path.suffix) == ("run.json", "run", ".json")
    assert str(path.parent.with_name("other")) == "s3://my-bucket/team/runs/other"
    assert str(path.relative_to(path.parent.parent)) == "trash/run.json"
    assert str(BucketPath.parse("s3://my-bucket")) == "s3://my-bucket"
    assert BucketPath.parse("s3://my-bucket/").name == "my-bucket"
    assert as_place("s3://my-bucket/a") == BucketPath.parse("s3://my-bucket/a/")
    assert as_place("runs/a") == Path("runs/a")


@pytest.mark.parametrize("uri", ["s3://", "s3:///runs", "s3://B/runs", "s3://a b/runs"])
def test_a_bucket_must_have_a_name(uri: str) -> None:
    with pytest.raises(InvalidInput, match=r"must be s3://bucket/prefix, got .*; a bucket's name is 3 to 63"):
        as_place(uri)


def test_a_file_arrives_whole_or_not_at_all(bucket: str, tmp_path: Path) -> None:
    path = BucketPath.parse(bucket) / "a" / "big.bin"
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    source.write_bytes(os.urandom(20 << 20))  # several parts
    path.upload(source)
    path.download(target)
    assert target.read_bytes() == source.read_bytes() == path.read_bytes()
    with pytest.raises(FileNotFoundError):
        (path.parent / "none").download(target)
    assert target.read_bytes() == source.read_bytes()
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["deep", "source", "target"]
    assert path.parent.is_dir()
    assert not path.is_dir()
    assert path.is_file()
    assert [child.name for child in path.parent.iterdir()] == ["big.bin"]


def test_objects_have_versions(bucket: str) -> None:
    folder = BucketPath.parse(f"{bucket}/run")
    assert folder.versions() == {}
    (folder / "a.json").write_bytes(b"12")
    (folder / "trials" / "0.json").write_bytes(b"1")
    (name, (changed, size)), *others = folder.versions().items()
    assert (name, size, others) == ("a.json", 2, [])
    assert abs(changed / 1e9 - time.time()) < 60


def test_an_object_is_found_as_its_folder_lists_it(bucket: str) -> None:
    path = BucketPath.parse(bucket) / "weights" / "a b+\u00e4.bin"
    with pytest.raises(FileNotFoundError):
        path.found()
    path.write_bytes(b"12")
    assert [path.found()] == path.parent.objects()


def test_an_object_that_is_replaced_meanwhile_is_read_whole(bucket: str) -> None:
    path = BucketPath.parse(bucket) / "run.json"
    versions = [bytes([65 + number]) * (60_000 + 10_000 * (number % 3)) for number in range(20)]
    path.write_bytes(versions[0])
    stop = threading.Event()

    def write() -> None:
        for version in itertools.cycle(versions):
            if stop.wait(0.05):
                return
            path.write_bytes(version)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(path.read_bytes() in versions for _ in range(40))
    finally:
        stop.set()
        writer.join()


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    path = BucketPath.parse(f"{bucket}-other/run.json")
    for ask in (path.exists, path.read_bytes, path.touch, lambda: list(path.parent.iterdir())):
        with pytest.raises(StorageFailed, match=r"other/?.*: the bucket must be within reach, .*; create the bucket"):
            ask()


def test_a_service_out_of_reach(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = BucketPath.parse(bucket) / "run.json"
    path.write_bytes(b"old")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        module._file_system.cache_clear()
        with pytest.raises(StorageFailed, match=r"run\.json: .*NETWORK_CONNECTION.*; see to the network, and to AWS_"):
            path.write_bytes(b"new")


def test_the_password_of_a_service_is_not_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = BucketPath.parse(bucket) / "run.json"
    endpoint = os.environ["AWS_ENDPOINT_URL"].replace("http://", "http://me:planted-password@")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    module._file_system.cache_clear()
    with pytest.raises(StorageFailed) as told:
        path.read_bytes()
    assert "planted-password" not in str(told.value)
    with pytest.raises(StorageFailed, match=r"got: no answer from http://\*\*\*@host:1/x;"), module._asking(path):
        raise OSError("no answer from http://me:planted-password@host:1/x")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_what_is_downloaded_obeys_the_umask(bucket: str, tmp_path: Path, umask: int) -> None:
    source, path = tmp_path / "source", BucketPath.parse(bucket) / "folder"
    (source / "below").mkdir(parents=True)
    (source / "below" / "file").touch()
    (source / "below" / "file").chmod(0o604)
    source.chmod(0o705)
    path.upload(source)
    path.with_name("file").upload(source / "below" / "file")
    former = os.umask(umask)
    try:
        path.download(tmp_path / "folder", unpack=True)
        path.with_name("file").download(tmp_path / "file")
    finally:
        os.umask(former)
    folder = tmp_path / "folder"
    modes = {stat.S_IMODE(place.stat().st_mode) for place in (tmp_path / "file", folder / "below" / "file")}
    assert modes == {0o666 & ~umask}
    assert {stat.S_IMODE(place.stat().st_mode) for place in (folder, folder / "below")} == {0o777 & ~umask}


def test_a_request_that_is_not_allowed() -> None:
    said = "When uploading object: AWS Error ACCESS_DENIED during PutObject operation: no (Request ID: abc)"
    with (
        pytest.raises(
            StorageFailed, match=r"ACCESS_DENIED during PutObject operation: no; list, read, write and"
        ) as told,
        module._asking(BucketPath.parse("s3://bucket/key")),
    ):
        raise OSError(said)
    assert "Request ID" not in str(told.value)


def test_a_full_disk_is_not_the_buckets_fault(bucket: str, tmp_path: Path) -> None:
    path = BucketPath.parse(bucket) / "key"
    path.write_bytes(bytes(1000))
    with (
        pytest.raises(StorageFailed, match=r"the disk is full .*, x was not written; free some space"),
        storage_errors(tmp_path / "x"),
        Path("/dev/full").open("wb", buffering=0) as file,
    ):
        file.write(path.read_bytes())


def test_the_client_reports_nothing_that_is_no_warning(bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    module._client.cache_clear()
    with caplog.at_level(logging.INFO):
        BucketPath.parse(bucket).objects()
    assert [record.name for record in caplog.records if record.name.startswith("botocore")] == []

import errno
import os
from pathlib import Path

import pytest
from pydantic import BaseModel

from search_spaces.errors import InvalidInput, StorageFailed
from search_spaces.validation import parse
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place, as_place, check_writable, disk_is_full, storage_errors


class Settings(BaseModel):
    root: Place


def test_a_text_is_a_folder_or_a_path_in_a_bucket() -> None:
    assert as_place("runs/a") == Path("runs/a")
    assert as_place("s3://my-bucket/a") == BucketPath.parse("s3://my-bucket/a/")
    for place in (Path("runs"), BucketPath.parse("s3://my-bucket")):
        assert as_place(place) is place


@pytest.mark.parametrize("value", ["gs://runs", "https://host/runs", 5, None])
def test_another_kind_of_address_is_refused(value: object) -> None:
    remedy = "other services are not supported" if isinstance(value, str) else "name one, e.g. runs"
    message = rf"must be a folder or s3://bucket/prefix, got {value!r}; {remedy}"
    with pytest.raises(InvalidInput, match=message):
        as_place(value)


def test_as_a_setting_a_folder_is_relative_to_the_file_and_written_as_text(tmp_path: Path) -> None:
    for written, place in (("runs", tmp_path / "runs"), ("s3://my-bucket/a/", as_place("s3://my-bucket/a"))):
        settings = parse(Settings, {"root": written}, "sweep.yaml", base=tmp_path)
        assert settings.root == place
        assert settings.model_dump(mode="json") == {"root": str(place)}
    with pytest.raises(InvalidInput, match=r"^sweep.yaml: root: must be a folder or s3://bucket/prefix, got 'gs://a'"):
        parse(Settings, {"root": "gs://a"}, "sweep.yaml", base=tmp_path)


@pytest.mark.parametrize(("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_an_error_of_writing_names_the_folder_the_file_and_the_remedy(number: int, full: bool) -> None:
    error = OSError(number, os.strerror(number))
    with pytest.raises(StorageFailed) as caught, storage_errors(Path("runs/a/run.json")):
        raise error
    assert disk_is_full(error) is full
    assert str(caught.value) == (
        f"runs/a: the disk is full ({error.strerror}), run.json was not written; free some space"
        if full
        else "runs/a: cannot write run.json (Input/output error); the folder must be writable"
    )
    assert caught.value.__cause__ is error


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(ValueError, match="mine"), storage_errors(Path("a/b")):
        raise ValueError("mine")
    assert not disk_is_full(ValueError(errno.ENOSPC, "no error of a disk"))


def test_a_bucket_is_tried_and_keeps_no_object_of_it(bucket: str) -> None:
    place = BucketPath.parse(bucket) / "runs"
    check_writable(place)
    assert list(place.iterdir()) == []
    with pytest.raises(StorageFailed, match="no-such-bucket"):
        check_writable(BucketPath.parse("s3://no-such-bucket/runs"))

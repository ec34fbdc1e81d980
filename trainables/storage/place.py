"""Places: a folder that every node sees, or a bucket; and disks that fill up."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from search_spaces.errors import InvalidInput, StorageFailed, shown
from search_spaces.paths import FromFile, as_path
from search_spaces.permissions import missing_permission
from search_spaces.user_files import FileKind, read_user_file
from trainables.storage.bucket import SCHEME, BucketPath


def as_place(value: Any) -> Path | BucketPath:
    """Return the path, or the path in a bucket, that a text means; raises InvalidInput for another kind of address."""
    if isinstance(value, Path | BucketPath):
        return value
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"must be a folder or s3://bucket/prefix, got {shown(value)}; name one, e.g. runs")
    if "://" in value and not value.startswith(SCHEME):
        raise InvalidInput(
            f"must be a folder or s3://bucket/prefix, got {shown(value)}; other services are not supported"
        )
    return BucketPath.parse(value) if value.startswith(SCHEME) else as_path(value)


def _field(value: Any, info: ValidationInfo) -> Path | BucketPath:
    try:
        place = as_place(value)
    except InvalidInput as error:
        raise ValueError(str(error)) from None
    return Path(FromFile().resolve(str(place), info)) if isinstance(place, Path) else place


Place = Annotated[
    Path | BucketPath,
    PlainValidator(_field),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "path"}),
]
"""Where something lies: a path of this machine, or of a bucket. As a field of a model, a text."""


def read_place(path: Path | BucketPath, kind: FileKind) -> bytes:
    """Return the bytes of a file, on a disk or in a bucket; raises what `read_user_file` raises."""
    return read_user_file(path, kind) if isinstance(path, Path) else path.read_bytes()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the errors of writing the file or folder `path` into StorageFailed, which names it and the remedy."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(_unwritable(path, error)) from error


def disk_is_full(error: BaseException) -> bool:
    """Return whether that is what an error says."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _unwritable(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if disk_is_full(error):
        return f"{path.parent}: the disk is full ({reason}), {path.name} was not written; free some space"
    rule = f"{path.parent}: cannot write {path.name} ({reason}); the folder must be writable"
    if not isinstance(error, PermissionError):
        return rule
    return f"{rule}: {missing_permission(Path(os.fsdecode(error.filename)) if error.filename else path)}"


def check_writable(place: BucketPath) -> None:
    """Raise StorageFailed when objects cannot be created once and deleted there."""
    probe = place / f".thaw-writable-{uuid.uuid4().hex}"
    probe.create(b"")
    try:
        if probe.create(b"again"):
            raise StorageFailed(
                f"{place}: the service must support conditional writes (If-None-Match), but an object was created "
                "twice; use a newer version of the service, or a folder that all nodes share"
            )
    finally:
        probe.unlink(missing_ok=True)

"""A path in a bucket: what a run needs of `pathlib.Path`, over pyarrow's S3 file system.

An object is replaced by one request (or one upload of parts, which counts when its last part is there), so a reader,
or a crash, finds the old object or the new one. Nothing is listed, cached or remembered between two calls.
"""

import errno
import logging
import os
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Self, TypeVar

from search_spaces.errors import InvalidInput, StorageFailed, shown
from search_spaces.redaction import redact

Read = TypeVar("Read")

SCHEME = "s3://"
ATTEMPTS, FIRST_ATTEMPTS = 10, 4
"""Tries of a request before it fails: about a minute and a half without a network, and a few seconds at first contact.

$AWS_MAX_ATTEMPTS sets both. The waits between them grow, as AWS's standard strategy has it."""

CONNECTIONS = 16
"""Objects that are fetched at a time."""

# What AWS's clients, Arrow's and its own for Python, call a request that is not allowed.
_REFUSALS = (
    *("ACCESS_DENIED", "HTTP status 403", "INVALID_ACCESS_KEY", "SIGNATURE", "CREDENTIALS", "TOKEN"),
    *("AccessDenied", "Forbidden", "InvalidAccessKeyId", "Signature", "credentials", "Token"),
)
_PART = 2**20
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class BucketObject(NamedTuple):
    """BucketObject: one object below a path of a bucket."""

    name: str
    """Its key, as seen from that path."""

    size: int
    """In bytes."""

    etag: str
    """Version of its content, as the service names it."""


@dataclass(frozen=True)
class BucketPath:
    """`s3://bucket/key`; methods are those of `pathlib.Path`, and raise StorageFailed where a bucket cannot be used."""

    bucket: str
    """Name of the bucket."""

    key: PurePosixPath
    """Path in it; `.` is the bucket itself."""

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Return the path of an `s3://` URI; raises InvalidInput when it names no bucket."""
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")
        if not uri.startswith(SCHEME) or not _BUCKET.fullmatch(bucket):
            raise InvalidInput(
                f"a path in a bucket must be s3://bucket/prefix, got {shown(uri)}; "
                "a bucket's name is 3 to 63 lower-case letters, digits, dots and dashes"
            )
        return cls(bucket, PurePosixPath(key.strip("/")))

    def __str__(self) -> str:
        return f"{SCHEME}{self._name}"

    def __truediv__(self, other: str | PurePosixPath) -> Self:
        return type(self)(self.bucket, self.key / other)

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.key.name or self.bucket

    @property
    def stem(self) -> str:
        """Its name without the ending."""
        return self.key.stem

    @property
    def suffix(self) -> str:
        """Its ending, with the dot."""
        return self.key.suffix

    @property
    def parent(self) -> Self:
        """The folder it lies in."""
        return type(self)(self.bucket, self.key.parent)

    def with_name(self, name: str) -> Self:
        """Its neighbor."""
        return type(self)(self.bucket, self.key.with_name(name))

    def relative_to(self, other: "BucketPath") -> PurePosixPath:
        """Return what leads here from a folder above."""
        return self.key.relative_to(other.key)

    def resolve(self) -> Self:
        """Itself: a path in a bucket is absolute."""
        return self

    def is_file(self) -> bool:
        """Return whether the object exists."""
        return self._kind() == "File"

    def is_dir(self) -> bool:
        """Return whether there are objects below."""
        return self._kind() == "Directory"

    def exists(self) -> bool:
        """Return whether it is an object, or has objects below it."""
        return self._kind() != "NotFound"

    def iterdir(self) -> Iterator[Self]:
        """List what lies directly below, in order of names; nothing where nothing is there."""
        from pyarrow.fs import FileSelector

        with _asking(self):
            infos = _file_system(self.bucket).get_file_info(FileSelector(self._name, allow_not_found=True))
        return iter([self / name for name in sorted(info.base_name for info in infos)])

    def versions(self) -> dict[str, tuple[int, int]]:
        """Return the time of change, in nanoseconds, and the size, in bytes, of each object directly below, by name."""
        from pyarrow.fs import FileSelector, FileType

        with _asking(self):
            infos = _file_system(self.bucket).get_file_info(FileSelector(self._name, allow_not_found=True))
        return {info.base_name: (info.mtime_ns, info.size) for info in infos if info.type is FileType.File}

    def objects(self) -> list[BucketObject]:
        """Return all objects below, at any depth, in order of names; without those that stand for a folder."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            pages = _client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._prefix)
            found = [each for page in pages for each in page.get("Contents", ())]
        except (BotoCoreError, ClientError) as error:
            raise _unreachable(self, str(error)) from error
        objects = (BucketObject(each["Key"].removeprefix(self._prefix), each["Size"], each["ETag"]) for each in found)
        return sorted(each for each in objects if each.name and not each.name.endswith("/"))

    def found(self) -> BucketObject:
        """Return the object here, as seen from its parent; raises FileNotFoundError where there is none."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = _client().head_object(Bucket=self.bucket, Key=str(self.key))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self)) from error
            raise _unreachable(self, str(error)) from error
        except BotoCoreError as error:
            raise _unreachable(self, str(error)) from error
        return BucketObject(self.name, answer["ContentLength"], answer["ETag"])

    def fetch(self, found: BucketObject, target: Path) -> None:
        """Write the bytes of an object below to the new file `target`.

        Raises StorageFailed where the object is not the one that was listed, or does not arrive as a whole.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        for attempt in range(FIRST_ATTEMPTS):  # the client repeats a request, but not what breaks in its answer
            try:
                answer = _client().get_object(Bucket=self.bucket, Key=self._prefix + found.name, IfMatch=found.etag)
                with target.open("wb") as file:
                    shutil.copyfileobj(answer["Body"], file, _PART)
                if target.stat().st_size == found.size:
                    return
                broken = f"{target.stat().st_size} of {found.size} bytes"
            except BotoCoreError as error:
                broken = str(error)
            except ClientError as error:
                if error.response["Error"]["Code"] in ("PreconditionFailed", "NoSuchKey"):
                    raise StorageFailed(
                        f"{self / found.name}: must stay as it is while it is fetched, but it was replaced or removed; "
                        "begin again when no program writes there"
                    ) from error
                broken = str(error)
                break
            time.sleep(2**attempt / 10)
        raise _unreachable(self / found.name, broken)

    @property
    def _prefix(self) -> str:
        """Begin of the keys of the objects below."""
        return "" if self.key == PurePosixPath() else f"{self.key}/"

    def glob(self, pattern: str) -> Iterator[Self]:
        """List what of that matches a pattern of names, e.g. `*.json`."""
        return (child for child in self.iterdir() if fnmatchcase(child.name, pattern))

    def read_bytes(self) -> bytes:
        """Read the whole object; raises FileNotFoundError where there is none."""

        def read() -> tuple[bytes, bytes]:
            with _file_system(self.bucket).open_input_file(self._name) as file:
                return _version(file), file.read()

        return self._undisturbed(read)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Read the whole object as text."""
        return self.read_bytes().decode(encoding, errors)

    def write_bytes(self, content: bytes) -> None:
        """Replace the object."""
        # In one piece: a stream that is left by an exception would put what it has so far in the object's place.
        with _asking(self), _file_system(self.bucket).open_output_stream(self._name) as stream:
            stream.write(content)

    def create(self, content: bytes) -> bool:
        """Make the object unless it exists; return whether this call made it: of several, one.

        Amazon S3, "How to prevent object overwrites with conditional writes": PutObject with If-None-Match. Arrow's
        client has no such request, AWS's own has.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            _client().put_object(Bucket=self.bucket, Key=str(self.key), Body=content, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            raise _unreachable(self, str(error)) from error
        except BotoCoreError as error:
            raise _unreachable(self, str(error)) from error
        return True

    def touch(self) -> None:
        """Make an empty object."""
        self.write_bytes(b"")

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        try:
            with _asking(self):
                _file_system(self.bucket).delete_file(self._name)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def copy_to(self, target: "BucketPath") -> None:
        """Replace the object `target` of the same bucket by a copy of this one, within the service."""
        with _asking(self):
            _file_system(self.bucket).copy_file(self._name, target._name)

    def upload(self, source: Path) -> None:
        """Replace the object by a file, or by a folder, which becomes one tar archive."""
        from pyarrow.fs import LocalFileSystem, copy_files

        with tempfile.TemporaryDirectory(prefix=".upload-", dir=source.parent) as scratch:
            if source.is_dir():
                archive = Path(scratch) / "folder.tar"
                with tarfile.open(archive, "w") as tar:
                    tar.add(source, arcname=".")
                source = archive
            with _asking(self):
                copy_files(str(source), self._name, LocalFileSystem(), _file_system(self.bucket))

    def download(self, target: Path, *, unpack: bool = False) -> None:
        """Put the object, or the folder that was archived in it, at `target`; raises FileNotFoundError without one.

        What is there is replaced once the whole of it has arrived.
        """
        from pyarrow.fs import LocalFileSystem, copy_files

        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as scratch:
            arrived, unpacked = Path(scratch) / "object", Path(scratch) / "folder"

            def read() -> tuple[bytes, None]:
                version = self._version()
                copy_files(self._name, str(arrived), _file_system(self.bucket), LocalFileSystem())
                return version, None

            self._undisturbed(read)
            if unpack:
                with tarfile.open(arrived) as tar:
                    tar.extractall(unpacked, filter=_as_new)
                if target.exists():
                    target.rename(Path(scratch) / "former")
            (unpacked if unpack else arrived).rename(target)

    @property
    def _name(self) -> str:
        return str(PurePosixPath(self.bucket) / self.key)

    def _kind(self) -> str:
        with _asking(self):
            return str(_file_system(self.bucket).get_file_info(self._name).type.name)

    def _undisturbed(self, read: Callable[[], tuple[bytes, Read]]) -> Read:
        """Return what `read` gives, beside the version that it began with, once that is the object's version still.

        Arrow asks in pieces, and between two the object may be replaced.
        """
        try:
            with _asking(self):
                while True:
                    version, found = read()
                    if version == self._version():
                        return found
        except StorageFailed:
            if self._kind() == "NotFound":  # removed meanwhile
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self)) from None
            raise

    def _version(self) -> bytes:
        with _file_system(self.bucket).open_input_file(self._name) as file:
            return _version(file)


def _as_new(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """Return the member without its archived mode: what is unpacked has the mode of any new file."""
    return tarfile.data_filter(member, path).replace(mode=None, deep=False)  # type: ignore[arg-type]


def _version(file: Any) -> bytes:
    return bytes(file.metadata()["ETag"])


@cache
def _file_system(bucket: str) -> Any:
    """pyarrow's file system for a bucket that is there and may be looked into; once a process."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, FileType, S3FileSystem, resolve_s3_region

    # Arrow reads credentials, profiles and regions from where AWS's own tools do, but not the place of the service.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = None if endpoint else resolve_s3_region(bucket)

    def connect(attempts: int) -> S3FileSystem:
        wanted = int(os.environ.get("AWS_MAX_ATTEMPTS", attempts))
        retries = AwsStandardS3RetryStrategy(max_attempts=wanted)
        return S3FileSystem(endpoint_override=endpoint, region=region, retry_strategy=retries, allow_delayed_open=True)

    if connect(FIRST_ATTEMPTS).get_file_info(bucket).type is FileType.NotFound:
        raise OSError(f"AWS Error NO_SUCH_BUCKET: there is no bucket {bucket}")
    return connect(ATTEMPTS)


@cache
def _client() -> Any:
    """AWS's own client, which reads the environment, profiles and $AWS_ENDPOINT_URL itself; once a process."""
    import boto3
    from botocore.config import Config

    logging.getLogger("botocore").setLevel(logging.WARNING)  # it reports where credentials and address were found
    return boto3.client(
        "s3", config=Config(connect_timeout=10, retries={"mode": "standard"}, max_pool_connections=CONNECTIONS)
    )


@contextmanager
def _asking(path: BucketPath) -> Iterator[None]:
    """Turn the errors of the client into StorageFailed."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # a missing object, or this machine's disk: the service's errors have no number
            raise
        raise _unreachable(path, re.sub(r" \(Request ID: [^)]*\)", "", str(error))) from error


def _unreachable(path: BucketPath, said: str) -> StorageFailed:
    said = redact(said)
    return StorageFailed(f"{path}: the bucket must be within reach, got: {said}; {_remedy(said)}")


def _remedy(said: str) -> str:
    if "NO_SUCH_BUCKET" in said or "NoSuchBucket" in said:
        return "create the bucket, or correct its name"
    if any(word in said for word in _REFUSALS):
        return (
            "list, read, write and delete must be allowed there: see that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "a profile, or the machine's role are those of someone who may"
        )
    if "NETWORK_CONNECTION" in said or "Could not connect" in said:
        return "see to the network, and to AWS_ENDPOINT_URL where the service is not AWS's own"
    return "see to the bucket and its rights"

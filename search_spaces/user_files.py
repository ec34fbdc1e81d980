"""One door for files of users: a regular file of limited size, opened without waiting."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from search_spaces.errors import InvalidInput

_MIB = 2**20
_LEAST_READ = 2**16
# Descriptors of this process: its standard input, and what bash writes for `<(command)`.
_HANDED_OVER = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")


@dataclass(frozen=True)
class FileKind:
    """Kind of file that a user gives: its name in messages, its largest size in bytes, and a remedy."""

    name: str
    largest: int
    remedy: str = "name another file"


IMAGE = FileKind("an image", 512 * _MIB, "replace or remove it")
MANIFEST = FileKind("a manifest", 512 * _MIB)
DOCUMENT = FileKind("a YAML or JSON file", 16 * _MIB)
RECORD = FileKind("a record", 256 * _MIB, "move it out of the run")
RUN_FILE = FileKind("a log or a table of a run", 64 * 1024 * _MIB, "move it out of the run")
WEIGHTS = FileKind("a weights file", 64 * 1024 * _MIB)
MODEL = FileKind("an ONNX file", 64 * 1024 * _MIB)


def open_user_file(path: Path, kind: FileKind) -> BinaryIO:
    """Open a regular file for reading, or a pipe that the shell has handed over, as in `thaw sweep /dev/stdin`.

    Another pipe, which would wait for a writer, is refused at once. Raises InvalidInput for such a pipe, a socket or a
    device and for more bytes than `kind` may have, and OSError, such as FileNotFoundError and IsADirectoryError, where
    the file cannot be opened.
    """
    try:
        is_handed_over = str(path).startswith(_HANDED_OVER)
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if is_handed_over else os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise InvalidInput(_refusal(path, kind, "a socket")) from error
    try:
        found = os.fstat(number)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(found.st_mode) and not (is_handed_over and stat.S_ISFIFO(found.st_mode)):
            raise InvalidInput(_refusal(path, kind, "a pipe or device"))
        if found.st_size > kind.largest:
            raise InvalidInput(_too_large(path, kind, f"{found.st_size:,}"))
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_user_file(path: Path, kind: FileKind) -> bytes:
    """Return the bytes of a file; raises what `open_user_file` raises, also for a file that grows while it is read."""
    parts, length = [], 0
    with open_user_file(path, kind) as file:
        # Python reserves memory for all that it is told to read; a pipe has no size.
        step = max(os.fstat(file.fileno()).st_size + 1, _LEAST_READ)
        while length <= kind.largest and (part := file.read(step)):
            parts.append(part)
            length += len(part)
    if length > kind.largest:
        raise InvalidInput(_too_large(path, kind, "more"))
    return b"".join(parts)


def _refusal(path: Path, kind: FileKind, found: str) -> str:
    return f"{path}: {kind.name} must be a file, got {found}; {kind.remedy}"


def _too_large(path: Path, kind: FileKind, size: str) -> str:
    return f"{path}: {kind.name} must have at most {kind.largest:,} bytes, got {size}; {kind.remedy}"

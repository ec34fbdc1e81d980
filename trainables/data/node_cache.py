"""Arrays that all processes of a node share: one process computes them, and each maps them into its memory."""

import errno
import fcntl
import io
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from search_spaces.errors import StorageFailed, ThawError
from search_spaces.permissions import missing_permission

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

# Bytes of the CRC-32 of the array, which follow it in its file; readers of .npy files ignore them.
_CHECKSUM = 4
_PART = 2**22
# Device, inode and checksum of the files whose bytes this process has compared with their checksum.
_intact: set[tuple[int, int, bytes]] = set()


class NodeCache:
    """Arrays shared by all processes of a node: each built once, memory-mapped, evicted least recently used first."""

    def __init__(self, folder: Path, budget: int | None = None) -> None:
        """`folder` is on a disk of this node; `budget` is in bytes for all arrays in it, None: half of what is there.

        What is there is what the cache occupies and what the disk has free.
        """
        self.folder = Path(folder)
        self.budget = budget

    def array(
        self,
        kind: str,
        key: str,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        rows: Callable[[], Iterator[Array]],
        on_progress: Progress | None = None,
    ) -> Array | None:
        """Open the array of this name, memory-mapped and read-only; None where it does not fit into the budget.

        The first process that asks builds it, while the others wait. A file that is not whole, or whose bytes do not
        have the checksum at its end, is built anew; a process compares it once, when it first opens the file. `rows`
        yields it in order, in chunks (k, *shape[1:]) of `dtype`; `on_progress(done, total)` is called with the number
        of rows after each chunk, so never where the array is there already. `kind` and `key` name its file: they must
        stand for everything that decides its content.

        To make room, arrays that no process has mapped are removed, those first that were opened longest ago. Raises
        StorageFailed where the disk is full or not writable, and what `rows` raises; neither leaves a file.
        """
        path = self._path(kind, key)
        array = _open_whole(path, shape, np.dtype(dtype))
        if array is not None:
            return array
        header = _header(shape, np.dtype(dtype))
        needed = len(header) + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize + _CHECKSUM
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                array = _open_whole(path, shape, np.dtype(dtype))
                if array is not None or not self._reserve(path, needed):
                    return array
                self._build(path, header, _checked(rows(), shape, np.dtype(dtype)), shape[0], on_progress)
                array = _open_whole(path, shape, np.dtype(dtype))
        except OSError as error:
            raise StorageFailed(cannot_write(path.parent, needed, error)) from error
        if array is None:
            raise ThawError(f"{path}: a built array must be whole, got a damaged file; check the disk")
        return array

    def find(self, kind: str, key: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array | None:
        """Open the array of this name as `array` does; return None if it is absent or not whole."""
        return _open_whole(self._path(kind, key), shape, np.dtype(dtype))

    def _path(self, kind: str, key: str) -> Path:
        return self.folder / kind / f"{key}.npy"

    def _reserve(self, path: Path, needed: int) -> bool:
        """Claim the bytes of an array by a file of its full size, still without content, where they fit the budget."""
        with self._accounts():
            for unusable in (path, _partial(path)):
                unusable.unlink(missing_ok=True)
            if not self._make_room(needed):
                return False
            with _partial(path).open("wb") as file:
                file.truncate(needed)
            return True

    def _make_room(self, needed: int) -> bool:
        for partial in self.folder.glob("*/*.partial"):
            _remove_abandoned(partial)
        files = {path: path.stat() for path in self.folder.glob("*/*") if path.suffix in (".npy", ".partial")}
        used = sum(file.st_size for file in files.values())
        free = shutil.disk_usage(self.folder).free
        budget = (used + free) // 2 if self.budget is None else self.budget
        idle = [path for path in files if path.suffix == ".npy" and not _in_use(path)]
        least = used - sum(files[path].st_size for path in idle)
        if least + needed > budget:
            return False
        if least + needed > used + free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        excess = used + needed - min(budget, used + free)
        for path in sorted(idle, key=lambda path: files[path].st_mtime_ns):
            if excess <= 0:
                break
            # A process that maps it at this moment keeps the content, which is deleted with the last map of it.
            path.unlink()
            excess -= files[path].st_size
        return True

    def _build(
        self, path: Path, header: bytes, chunks: Iterator[Array], total: int, on_progress: Progress | None
    ) -> None:
        # The lock is ours, so the name may be fixed: what a killed builder left behind is overwritten, not collected.
        partial = _partial(path)
        try:
            # Written in order and not through a map: a full disk is then an error and not a bus error.
            with partial.open("r+b") as file:
                file.write(header)
                done = checksum = 0
                for chunk in chunks:
                    file.write(chunk.data)
                    checksum = zlib.crc32(chunk.data, checksum)
                    done += len(chunk)
                    if on_progress is not None:
                        on_progress(done, total)
                file.write(checksum.to_bytes(_CHECKSUM))
                file.flush()
                os.fsync(file.fileno())
            with self._accounts():
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _accounts(self) -> FileLock:
        """Held while sizes are added up and while names change, so that two builders cannot claim the same bytes."""
        return FileLock(self.folder / ".lock")


def _open_whole(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
    """Open the mapped file, or None where there is none or it is not the whole array as it was built."""
    try:
        with path.open("rb") as file:
            # The map has a duplicate of the file's descriptor, so this mark of being used lasts exactly as long as the
            # map does, whatever becomes of the process. Without it (some network disks) an eviction is still no harm.
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_SH)
            np.lib.format.read_magic(file)
            found = np.lib.format.read_array_header_1_0(file)
            offset, size = file.tell(), int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            state = os.fstat(file.fileno())
            if found != (shape, False, dtype) or state.st_size != offset + size + _CHECKSUM:
                return None
            checksum = os.pread(file.fileno(), _CHECKSUM, offset + size)
            if (identity := (state.st_dev, state.st_ino, checksum)) not in _intact:
                if _crc32(file, size).to_bytes(_CHECKSUM) != checksum:
                    return None
                _intact.add(identity)
            # For the eviction, and to the nanosecond: many disks do not keep the last access, and a file system's own
            # clock ticks in milliseconds.
            with suppress(OSError):
                os.utime(path, ns=(time.time_ns(), time.time_ns()))
            return np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=shape)
    except (OSError, ValueError, EOFError):
        return None


def _crc32(file: BinaryIO, size: int) -> int:
    """Return the checksum of the next `size` bytes, read and not mapped: a bad disk is then an error and no signal."""
    checksum = 0
    while size > 0 and (part := file.read(min(size, _PART))):
        checksum = zlib.crc32(part, checksum)
        size -= len(part)
    return checksum


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    buffer = io.BytesIO()
    description = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(buffer, {"descr": description, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _checked(chunks: Iterator[Array], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[Array]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        if chunk.shape[1:] != shape[1:] or chunk.dtype != dtype or done > shape[0]:
            raise ValueError(f"rows must be {dtype} {shape}, got {chunk.dtype} {chunk.shape} up to row {done}")
        yield np.ascontiguousarray(chunk)
    if done != shape[0]:
        raise ValueError(f"rows must be {shape[0]}, got {done}")


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _remove_abandoned(partial: Path) -> None:
    """Remove what a killed builder left behind; who is building holds the lock."""
    with suppress(Timeout), FileLock(f"{partial.with_suffix('')}.lock", blocking=False):
        partial.unlink(missing_ok=True)


def _in_use(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def cannot_write(folder: Path, needed: int, error: OSError) -> str:
    """Return the message for an error of writing `needed` bytes below the cache."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{folder}: the node's cache needs {needed} bytes ({needed / 2**20:.0f} MiB), got a full disk; "
            "free space there, or set storage.cache_dir to another disk"
        )
    if isinstance(error, PermissionError):
        lacking = missing_permission(Path(error.filename or folder))
        return f"the node's cache must be writable: {lacking}, or set storage.cache_dir to a folder of your own"
    return f"{folder}: the node's cache must be writable, got {error}; set storage.cache_dir to a folder that is"

"""Store of a run: transfer of its files from a disk of this node to the run, and back.

Records, which are small, are read and written in place. Checkpoints and logs need a disk: they are written at
`RunFolder.here` and then published. For a run in a folder that is the same path. In a bucket a folder is one object, a
tar archive: it is replaced as a whole or not at all.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from analysis.run_folder import RunFolder
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place, storage_errors


@dataclass(frozen=True)
class RunStore:
    """RunStore: files of one run, moved between its root and this node; in a folder nothing has to move."""

    run: RunFolder

    def publish(self, place: Place) -> None:
        """Copy the file or folder at `here(place)` to `place`, as a whole. Raises StorageFailed when that fails."""
        if isinstance(place, BucketPath):
            with storage_errors(self.run.here(place)):
                _object(place).upload(self.run.here(place))

    def fetch(self, place: Place) -> Path:
        """Copy `place` to `here(place)`, where this node continues to write it; return that path.

        Where `place` does not exist, the path does not exist afterwards. A reader uses `reading` instead.
        """
        path = self.run.here(place)
        if isinstance(place, BucketPath):
            self.release(place)
            _download(place, path)
        return path

    @contextmanager
    def reading(self, place: Place) -> Iterator[Path]:
        """Yield a path of this node with a copy of `place`; the path does not exist where `place` does not."""
        if isinstance(place, Path):
            yield place
            return
        self.run.local.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".reading-", dir=self.run.local) as scratch:
            _download(place, Path(scratch) / place.name)
            yield Path(scratch) / place.name

    def has(self, place: Place) -> bool:
        """Return whether `place` exists."""
        return place.exists() if isinstance(place, Path) else _object(place).is_file()

    def release(self, place: Place) -> None:
        """Delete the copy on this node of a place in a bucket."""
        if isinstance(place, BucketPath):
            _remove(self.run.here(place))

    def remove(self, place: Place) -> None:
        """Delete `place`, and the half-written files that a killed process has left beside it."""
        if isinstance(place, BucketPath):
            _object(place).unlink(missing_ok=True)
            return
        for path in (place, *(place.with_name(f".{place.name}.{end}") for end in ("old", "new"))):
            _remove(path)


def write_atomically(path: Place, text: str) -> None:
    """Replace the file `path` by `text`: a reader, or a crash, finds the old file or the new one, never a part.

    The text is written to a temporary file in the same folder and flushed to the disk; the file is then renamed. In a
    bucket it is one request. Folders are created. Raises StorageFailed when the disk is full or the place cannot be
    written.
    """
    # A traceback may contain a file name that is not UTF-8; in JSON, `\udcff` is then its valid escape.
    content = text.encode("utf-8", "backslashreplace")
    if isinstance(path, BucketPath):
        path.write_bytes(content)
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _download(place: BucketPath, path: Path) -> None:
    with storage_errors(path), suppress(FileNotFoundError):
        _object(place).download(path, unpack=not place.suffix)


def _object(place: BucketPath) -> BucketPath:
    """Return the object that holds a file or a folder of a run; only files have an ending."""
    return place if place.suffix else place.with_name(f"{place.name}.tar")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

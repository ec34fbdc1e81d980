"""Store of a run: transfer of its files from a disk of this node to the run, and back.

Records, which are small, are read and written in place. Checkpoints and logs need a disk: they are written at
`RunFolder.here` and then published. For a run in a folder that is the same path. In a bucket a folder is one object, a
tar archive: it is replaced as a whole or not at all.
"""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from analysis.run_folder import RunFolder, claimed_run
from search_spaces.errors import StorageFailed
from search_spaces.user_files import RECORD
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place, read_place, storage_errors


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
        return _exists(place) if isinstance(place, Path) else _object(place).is_file()

    def newest(self, path_of: Callable[[RunFolder], Place]) -> Place:
        """Return the path of a file or folder in the newest generation that has it, else in the first one."""
        places = [path_of(layer) for layer in claimed_run(self.run.root, self.run.cache).layers()]
        return next((place for place in places[:-1] if self.has(place)), places[-1])

    def inherit(self, trial_id: str) -> None:
        """Copy the files with which a trial continues from an earlier generation, unless this one has them.

        The presence of `last` means that the copy is complete. The old files are deleted. A worker of an earlier
        driver may still write there.
        """
        if len(self.run.generations) == 1 or self.has(self.run.last(trial_id)):
            return
        layers = [*self.run.layers()][1:]
        while source := next((layer for layer in layers if self.has(layer.last(trial_id))), None):
            if self._inherit_from(source, trial_id):
                break
        for layer in layers:
            # `last` is deleted first: where it stands, the others stood before.
            for path_of in (RunFolder.last, RunFolder.best, RunFolder.predictions):
                with suppress(OSError):  # a worker of an earlier driver replaces them at this moment
                    self.remove(path_of(layer, trial_id))

    def _inherit_from(self, source: RunFolder, trial_id: str) -> bool:
        """Copy the files of one generation; return False where another driver has inherited and deleted them."""
        inherited = self.run.checkpoints(trial_id) / "inherited"
        try:
            # `last` is read first, since a worker writes it last: the other files may be newer than it, but not older.
            _copy(source.last(trial_id), inherited)
            for path_of in (RunFolder.best, RunFolder.predictions):
                if self.has(path_of(source, trial_id)):
                    _copy(path_of(source, trial_id), path_of(self.run, trial_id))
        except (StorageFailed, FileNotFoundError):
            if self.has(source.last(trial_id)):
                raise
        if not self.has(source.last(trial_id)):
            return False
        _copy(inherited, self.run.last(trial_id))
        self.remove(inherited)
        return True

    def release(self, place: Place) -> None:
        """Delete the copy on this node of a place in a bucket."""
        if isinstance(place, BucketPath):
            _remove(self.run.here(place))

    def remove(self, place: Place) -> None:
        """Delete `place`, and the half-written files that a killed process has left beside it."""
        if isinstance(place, BucketPath):
            _object(place).unlink(missing_ok=True)
            return
        for end in ("old", "new", "gone"):
            _remove(place.with_name(f".{place.name}.{end}"))
        if place.is_dir():  # as a whole: another process may copy it
            place = place.rename(place.with_name(f".{place.name}.gone"))
        _remove(place)


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
            _write(temporary, content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def create_exclusively(path: Place, text: str) -> bool:
    """Create the file `path` with `text`, whole or not at all; return False where it exists with another content.

    Of several processes exactly one succeeds. On a disk the file is written under a temporary name and then linked to
    its own: `link` fails where the name is taken (open(2), O_EXCL on NFS). In a bucket it is one request with
    If-None-Match. An answer that was lost on the way makes a success look like a failure, so the content decides: it
    must differ between processes. Raises StorageFailed when the place cannot be written.
    """
    content = text.encode()
    if isinstance(path, BucketPath):
        return path.create(content) or _holds(path, content)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(temporary, content)
            _link(temporary, path)
        except FileExistsError:
            return _holds(path, content)
        finally:
            temporary.unlink(missing_ok=True)
        return True


def _holds(path: Place, content: bytes) -> bool:
    try:
        return read_place(path, RECORD) == content
    except FileNotFoundError:  # another's, deleted again
        return False


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _link(temporary: Path, path: Path) -> None:
    """Give a file its name, which must be free."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without links; a reader may see the file before its content
        _write(path, temporary.read_bytes())


def _copy(source: Place, target: Place) -> None:
    if isinstance(source, BucketPath):
        assert isinstance(target, BucketPath)
        _object(source).copy_to(_object(target))
        return
    assert isinstance(target, Path)
    fresh = target.with_name(f".{target.name}.new")
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        while not _copied(_standing(source), fresh, source):
            if not _exists(source):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
        _remove(target)
        fresh.rename(target)


def _copied(source: Path, fresh: Path, place: Path) -> bool:
    """Copy a file or folder that stands for `place`; return False where it was replaced meanwhile."""
    _remove(fresh)
    before = _identity(source)
    try:
        # Files of checkpoints are replaced, never written into, so that two names of one file are safe.
        if source.is_dir():
            shutil.copytree(source, fresh, copy_function=_link_or_copy)
        else:
            _link_or_copy(str(source), str(fresh))
    except OSError:
        if before is not None and _identity(source) == before:
            raise
        return False
    # An old folder whose replacement stands may have lost files before the copy began.
    return before is not None and _identity(source) == before and _standing(place) == source


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _exists(place: Path) -> bool:
    """Return whether a file or folder exists, also at the moment at which another process replaces it."""
    return any(path.exists() for path in (place, _old(place), place))


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _standing(place: Path) -> Path:
    """Return the place, or the old folder beside it where its replacement was interrupted between two renames."""
    return place if place.exists() or not _old(place).exists() else _old(place)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every network file system has links
        shutil.copy2(source, target)


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

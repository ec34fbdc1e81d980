"""Session folder of a Ray that Thaw starts: private to its user, one per start. The newest few are kept for their logs.

Ray's own default is one folder for all users of the machine, which every user may read and write.
"""

import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from search_spaces.errors import StorageFailed, ThawError
from search_spaces.permissions import owner
from trainables.storage.place import storage_errors

LOCK_FILE = ".lock"
KEPT_SESSIONS = 3
# On a full disk Ray's servers wait for each other without an error.
LEAST_FREE = 16 * 2**20
# A socket's path has at most 103 bytes on macOS, and 107 on Linux. This is the longest part that Ray appends.
LONGEST_SOCKET = 103
_SOCKET = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"


@contextmanager
def session_folder() -> Iterator[Path]:
    """Yield a new private folder, in use until the end of the block; delete folders of earlier sessions, except three.

    Raises ThawError where another user has taken the folder's name, and where it cannot be written.
    """
    base = user_folder()
    free = shutil.disk_usage(base).free
    if free < LEAST_FREE:
        raise StorageFailed(
            f"{base}: Ray's files need {LEAST_FREE / 2**20:.0f} MiB, got {free / 2**20:.1f} MiB on that disk; "
            "free some space, or set RAY_TMPDIR to a folder on another disk"
        )
    with FileLock(base / LOCK_FILE):
        folder = base / uuid.uuid4().hex[:8]
        folder.mkdir()
        in_use = FileLock(folder / ".lock")
        in_use.acquire()
        _remove_old(base)
    try:
        yield folder
    finally:
        in_use.release()


def user_folder() -> Path:
    """Return this user's private folder for processes of this machine, made where it is missing; `LOCK_FILE` locks it.

    Raises ThawError where another user has taken the folder's name, and where it cannot be written.
    """
    parent = _temporary_folder()
    with storage_errors(parent / "thaw"):
        return _private(parent / f"thaw-{os.geteuid()}")


def _temporary_folder() -> Path:
    """Return $RAY_TMPDIR, else the system's temporary folder; /tmp where the paths of sockets would be too long."""
    wanted = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).absolute()
    longest = wanted / f"thaw-{os.geteuid()}" / "12345678"
    return wanted if len(os.fsencode(longest)) + len(_SOCKET) <= LONGEST_SOCKET else Path("/tmp")


def _private(folder: Path) -> Path:
    """Make `folder`, or check that it is this user's own and no link: others may write beside it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a link or file"
        raise ThawError(
            f"{folder}: the folder of Ray's sessions must belong to this user (uid {os.geteuid()}), got {kind} of "
            f"{owner(folder, found.st_uid)}; delete it, or set RAY_TMPDIR to a folder of your own"
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
    return folder


def _remove_old(base: Path) -> None:
    """Delete all sessions that no process uses, except the newest. A killed process has released its lock."""
    folders = sorted((path for path in base.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime_ns)
    for folder in folders[KEPT_SESSIONS:]:
        try:
            with FileLock(folder / ".lock", blocking=False):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue

"""Copies of a data set on a node: what lies in a bucket or in an archive, as plain files below the cache folder.

A copy is made once by one process, under a temporary name; a process that is killed leaves nothing that is read.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from search_spaces.errors import InvalidInput, StorageFailed, shown
from search_spaces.paths import check_path
from trainables.data.node_cache import cannot_write
from trainables.storage.place import Place

# Another rule of what is read, or under which name, needs another number, or an old copy would answer for it.
_VERSION = 2
_CONTENTS, _FILES = "contents.json", "files"

Fill = Callable[[Path], Any]


def copied_once(cache: Path, place: Place, origin: Sequence[Any], needed: int, fill: Fill) -> tuple[Path, Any]:
    """Return the folder of the files that `fill` writes into an empty folder, and the JSON document that it returns.

    `origin` stands, beside the `place`, for everything that decides both, and `needed` is about their size in bytes.
    Where a copy of this origin is below `cache`, nothing is written; of several processes one writes while the others
    wait. Raises StorageFailed where the disk is full or not writable, and what `fill` raises; neither leaves a copy.
    """
    folder = cache / "sources" / _digest([_VERSION, str(place), *origin])
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not folder.is_dir():
                    _build(folder, needed, fill)
                    _mark_newest(_newest(cache, place), folder)
        return folder / _FILES, json.loads((folder / _CONTENTS).read_text())
    except OSError as error:
        raise StorageFailed(cannot_write(folder.parent, needed, error)) from error


def newest_copy(cache: Path, place: Place) -> Path | None:
    """Return the folder of the files that were copied last from a place; None without a copy."""
    folder = _newest(cache, place) / _FILES
    return folder if folder.is_dir() else None


def _newest(cache: Path, place: Place) -> Path:
    return cache / "sources" / "newest" / _digest([str(place)])


def _mark_newest(link: Path, folder: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    draft = link.with_name(f"{link.name}-{folder.name}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(Path("..", folder.name))
    draft.replace(link)


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def _build(folder: Path, needed: int, fill: Fill) -> None:
    if shutil.disk_usage(folder.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    # The lock is ours, so the name may be fixed: what a killed process left behind is replaced.
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / _FILES).mkdir(parents=True)
        contents = fill(partial / _FILES)
        (partial / _CONTENTS).write_text(json.dumps(contents))
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def inner_parts(where: str, name: str) -> tuple[str, ...]:
    """Return the folders and the name of a file in an archive or a bucket, all of which stay in the folder of a copy.

    A slash at the begin, as `tar -P` writes it, means nothing. Raises InvalidInput for a name that leads elsewhere, or
    that no file system could hold.
    """
    parts = PurePosixPath(name.lstrip("/")).parts
    if not parts or ".." in parts:
        raise InvalidInput(
            f"{where}: every file must have a name that stays within, got {shown(name)}; rename it, and pack it anew"
        )
    try:
        check_path(name)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None
    return parts

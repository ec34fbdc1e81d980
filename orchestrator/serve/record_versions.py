"""Versions of the records of a run: equal while none of them has changed."""

import os
from contextlib import suppress
from pathlib import Path

from analysis.run_folder import HEARTBEAT, RUN_RECORD, RunFolder
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place

RecordVersions = tuple[tuple[str, int, int], ...]
"""Name, time of change in nanoseconds and size in bytes of each record."""


def record_versions(root: Place) -> RecordVersions:
    """Return the versions of the records of the run at `root`, without reading one; none where there is no run.

    Raises OSError or StorageFailed where a folder or a bucket cannot be listed.
    """
    run = RunFolder(root)
    trials = {name: found for name, found in _versions(run.trials).items() if not name.startswith(".")}
    others = [_versions(folder) for folder in (run.predictions("0000").parent, run.winner, run.export)]
    # The times of a bucket are whole seconds: a heartbeat every few seconds tells two changes in one second apart.
    beats = isinstance(root, BucketPath)
    files = _versions(root)
    own = {name: found for name, found in files.items() if RUN_RECORD.fullmatch(name)}
    own |= {name: found if beats else (0, 0) for name, found in files.items() if HEARTBEAT.fullmatch(name)}
    return tuple((name, *found) for files in (own, trials, *others) for name, found in sorted(files.items()))


def is_run(place: Place) -> bool:
    """Return whether a folder holds records of a run, readable or not. Raises as `record_versions` does."""
    return any(RUN_RECORD.fullmatch(name) or HEARTBEAT.fullmatch(name) for name in _versions(place))


def _versions(folder: Place) -> dict[str, tuple[int, int]]:
    if not isinstance(folder, Path):
        return folder.versions()
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # deleted since it was listed
                    found[entry.name] = _version(entry)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return found


def _version(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        state = entry.stat()
    except FileNotFoundError:
        raise
    except OSError:  # as of a link to itself: reading it says what is wrong
        return (0, 0)
    return state.st_mtime_ns, state.st_size

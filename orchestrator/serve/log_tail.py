"""End of the log of a trial, or of the sweep itself."""

import os
from pathlib import Path

from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput
from search_spaces.user_files import RUN_FILE, open_user_file
from trainables.storage.place import Place

_LONGEST = 256 * 1024


def log_tail(run: Place, trial: str) -> tuple[bytes, bool]:
    """Return the last 256 KiB of a log, from the begin of a line, and whether something before is left out.

    `trial` is the id of a trial; `sweep` is the log of the sweep. A log that has not begun is empty.
    Raises InvalidInput where one cannot be read.
    """
    folder = RunFolder(run)
    path = folder.sweep_log if trial == folder.sweep_log.stem else folder.log(trial)
    try:
        content, size = _read(path)
    except FileNotFoundError:
        return b"", False
    except OSError as error:
        raise InvalidInput(f"{path}: a log must be a readable file, got: {error.strerror or error}") from error
    if size <= _LONGEST:
        return content, False
    _, _, whole_lines = content.partition(b"\n")
    return whole_lines or content, True


def _read(path: Place) -> tuple[bytes, int]:
    """Return the end of a file and the size of the whole."""
    if not isinstance(path, Path):
        content = path.read_bytes()
        return content[-_LONGEST:], len(content)
    with open_user_file(path, RUN_FILE) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - _LONGEST, 0))
        return file.read(_LONGEST), size

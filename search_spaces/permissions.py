"""Permissions: the right that this user lacks on a path, with the path's owner and mode, for messages."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces.errors import InvalidInput
from search_spaces.shell import shell_command


def check_readable(path: Path) -> None:
    """Raise InvalidInput where this user may not read `path`; do nothing where it is readable or does not exist.

    `Path.is_file` does not suffice: it raises PermissionError or returns False, depending on the version of Python.
    `Path.glob` finds nothing in a folder that may not be listed.
    """
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except PermissionError as error:
        raise InvalidInput(missing_permission(path)) from error
    except (OSError, ValueError):  # missing, or no path at all
        return
    if not os.access(path, os.R_OK | os.X_OK if is_folder else os.R_OK):
        raise InvalidInput(missing_permission(path))


def refuse_unlisted(error: OSError) -> None:
    """Raise InvalidInput for a folder that may not be listed; to be given to `os.walk`, which skips it otherwise."""
    if isinstance(error, PermissionError):
        raise InvalidInput(missing_permission(Path(error.filename))) from error


@contextmanager
def permission_errors(path: Path) -> Iterator[None]:
    """Turn the PermissionError of a use of `path` into InvalidInput, which names the missing right."""
    try:
        yield
    except PermissionError as error:
        raise InvalidInput(missing_permission(path)) from error


def missing_permission(path: Path) -> str:
    """Return a message that names the right that this user lacks on `path`, its owner and mode, and the remedy."""
    path = path.absolute()
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK):
            return _message(path, f"enter {folder}", folder, "go+rX")
    if not path.exists():
        return _message(path, f"write into {path.parent}", path.parent, "g+w")
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        return _message(path, "list this folder", path, "go+rX")
    if not os.access(path, os.R_OK):
        return _message(path, "read this file", path, "go+r")
    # A file is replaced, for which its folder must be writable.
    lacking = path if path.is_dir() or os.access(path.parent, os.W_OK) else path.parent
    if os.access(lacking, os.W_OK):
        return f"{path}: permission denied, although its mode grants it; see its access control list and its mount"
    return _message(path, f"write to {lacking}", lacking, "g+w")


def owner(path: Path, number: int) -> str:
    """Return the name of the owner of `path`, whose uid is `number`; a container may have no name for it."""
    try:
        return path.owner()
    except KeyError:
        return f"uid {number}"


def _message(path: Path, right: str, lacking: Path, change: str) -> str:
    found = lacking.stat()
    name, group, mode = owner(lacking, found.st_uid), _group(lacking, found.st_gid), stat.filemode(found.st_mode)
    who = "" if found.st_uid == os.geteuid() else f", as {name},"
    return (
        f"{path}: this user (uid {os.geteuid()}) must have permission to {right}, but its owner is {name}, "
        f"its group {group} and its mode {mode}; change that{who} with `{shell_command('chmod', change, lacking)}`"
    )


def _group(path: Path, number: int) -> str:
    try:
        return path.group()
    except KeyError:
        return f"gid {number}"

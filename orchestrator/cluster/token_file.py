"""Token file of Ray: the secret that a cluster asks for, readable by its owner alone."""

import logging
import os
import secrets
import stat
import uuid
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_PRIVATE = 0o600


def protect_token() -> None:
    """Make Ray's token file where there is none, and take the rights of others from one that exists.

    Ray makes it on first use, with the mode that the umask leaves, for all users of the machine to read. A token in
    $RAY_AUTH_TOKEN needs no file; it is set where no file can be made, as in a container without a home. A file that
    $RAY_AUTH_TOKEN_PATH names is the user's: its mode is warned about.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named or os.path.expanduser("~/.ray/auth_token"))  # noqa: PTH111  (Path's raises without a home)
    try:
        if named is None:
            _make(path)
    except OSError as error:
        log.info("%s: the token of Ray cannot be kept (%s), and is one for this process", path, error.strerror)
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        return
    with suppress(OSError):  # Ray itself reports a token that it cannot read
        mode = shared_mode(path)
        if mode is not None:
            _narrow(path, mode, warn_only=named is not None)


def shared_mode(path: Path) -> str | None:
    """Return the mode of a file that others than its owner may use, as `ls` shows it; None of a private one.

    Raises OSError where there is no file.
    """
    mode = path.stat().st_mode
    return stat.filemode(mode) if stat.S_IMODE(mode) & 0o077 else None


def _make(path: Path) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w") as file:
            file.write(secrets.token_hex(32))
        with suppress(FileExistsError):  # another process was faster, and its token is used
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def _narrow(path: Path, mode: str, *, warn_only: bool) -> None:
    if not warn_only and path.stat().st_uid == os.geteuid():
        path.chmod(_PRIVATE)
        log.info("%s: its mode was %s; now its owner alone may read it", path, mode)
    else:
        log.warning("%s: only its owner must be able to read the token of Ray, but its mode is %s", path, mode)

"""AccessToken: the secret without which the dashboard stops and resumes nothing."""

import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from orchestrator.cluster.token_file import shared_mode
from search_spaces.errors import InvalidInput
from search_spaces.user_files import DOCUMENT, read_user_file

log = logging.getLogger(__name__)

VARIABLE = "THAW_DASHBOARD_TOKEN"
_SHORTEST = 16
_REMEDY = "make one, e.g. with `openssl rand -hex 32`"


class AccessToken:
    """AccessToken: the token of a dashboard, compared with that of a request in constant time."""

    def __init__(self, text: str, source: str) -> None:
        """Keep the token. Raises InvalidInput, which names the source, where it is short or no header can hold it."""
        if len(text) < _SHORTEST:
            rule = f"{source}: must hold a token of at least {_SHORTEST} characters"
            raise InvalidInput(f"{rule}, got {len(text)}; {_REMEDY}")
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise InvalidInput(f"{source}: must hold a token of letters, digits and signs in one line; {_REMEDY}")
        self._content = text.encode()

    def matches(self, given: str | None) -> bool:
        """Return whether a text is the token."""
        return given is not None and secrets.compare_digest(given.encode(), self._content)


def read_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> AccessToken | None:
    """Return the token of the file, else that of $THAW_DASHBOARD_TOKEN; None without both.

    As Ray's token file, one that the user has named stays as it is; that others can read it is warned about. Raises
    InvalidInput where the file cannot be read or a token is too short.
    """
    if file is None:
        return AccessToken(environment[VARIABLE].strip(), f"${VARIABLE}") if VARIABLE in environment else None
    try:
        text = read_user_file(file, DOCUMENT).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--token-file: must be a readable text file, got {file}: {error}; {_REMEDY}") from None
    mode = shared_mode(file)
    if mode is not None:
        log.warning("%s: only its owner must be able to read the token, but its mode is %s", file, mode)
    return AccessToken(text, f"--token-file {file}")

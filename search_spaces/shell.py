"""Commands in messages: what a user can copy into a shell, whatever characters a path has."""

import shlex
from typing import Any


def thaw_command(*words: Any) -> str:
    """Return a `thaw` command for a message; every word is one argument, quoted where the shell needs it."""
    return shlex.join(["thaw", *map(str, words)])

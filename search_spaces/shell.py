"""Commands in messages: what a user can copy into a shell, whatever characters a path has."""

import shlex
from pathlib import Path
from typing import Any


def thaw_command(*words: Any) -> str:
    """Return a `thaw` command for a message; every word is one argument, quoted where the shell needs it."""
    return shell_command("thaw", *words)


def shell_command(*words: Any) -> str:
    """Return the command of any program for a message, quoted like `thaw_command`."""
    return shlex.join(map(_argument, words))


def _argument(word: Any) -> str:
    # A path that begins with a dash would be taken for an option.
    return f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)

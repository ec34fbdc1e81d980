"""Commands in messages: what a user can copy into a shell, whatever characters a path has."""

import os
import shlex
from pathlib import Path
from typing import Any

from search_spaces.terminal_text import without_controls


def thaw_command(*words: Any) -> str:
    """Return a `thaw` command for a message; every word is one argument, quoted where the shell needs it."""
    return shell_command("thaw", *words)


def shell_command(*words: Any) -> str:
    """Return the command of any program for a message, quoted like `thaw_command`."""
    return " ".join(_quoted(_argument(word)) for word in words)


def _argument(word: Any) -> str:
    # A path that begins with a dash would be taken for an option.
    return f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)


def _quoted(word: str) -> str:
    """Return a word as a shell needs it; one with control characters in the form of bash and zsh, which shows them."""
    if without_controls(word) == word:
        return shlex.quote(word)
    marks = (mark if mark.isprintable() and mark not in "\\'" else _bytes(mark) for mark in word)
    return f"$'{''.join(marks)}'"


def _bytes(mark: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(mark))

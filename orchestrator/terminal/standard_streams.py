"""Standard streams of a command: some may be closed when it starts, and some cannot be written."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from search_spaces.errors import StorageFailed


class StandardOutput(io.TextIOWrapper):
    """Standard output whose faults, such as a full disk, are errors of Thaw; a reader that has left is none."""

    def write(self, text: str, /) -> int:
        """Write a text. Raises StorageFailed, BrokenPipeError."""
        with _faults_named():
            return super().write(text)

    def flush(self) -> None:
        """Write what waits. Raises StorageFailed, BrokenPipeError."""
        with _faults_named():
            super().flush()


def prepare() -> None:
    """Open the null device in place of each standard stream that is closed, and let standard output name its faults.

    The next file or socket would get the number of the closed one, as of `thaw sweep FILE >&-`, and what is printed
    would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            os.set_inheritable(number, True)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # Python's own sign that it was closed
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  (until the process ends)
    if isinstance(sys.stdout, io.TextIOWrapper):
        settings = (sys.stdout.encoding, sys.stdout.errors, None, sys.stdout.line_buffering)
        sys.stdout = StandardOutput(sys.stdout.detach(), *settings)


def discard(*streams: TextIO) -> None:
    """Let the null device take what is still written to the streams, also when the interpreter ends."""
    for stream in streams:
        with suppress(OSError, ValueError):  # not a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _faults_named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageFailed(
            f"standard output: must be writable, got: {error.strerror or error}; free space, or choose another file"
        ) from error

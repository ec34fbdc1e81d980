"""FaultReport: the file that describes an unexpected error, for the developers."""

import importlib.metadata
import logging
import os
import platform
import re
import shlex
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.redaction import redact

log = logging.getLogger(__name__)

_LIBRARIES = (
    *("thaw", "torch", "timm", "ray", "optuna", "wandb", "onnx", "onnxruntime"),
    *("numpy", "pillow", "pyarrow", "pydantic", "typer", "rich"),
)
_SECRET_VALUE = re.compile(
    r"(?i)(?<![a-z])((?:[a-z]+[-_.])*(?:api[-_]?key|token|secret|password|passwd)\s*[=:]\s*)[^\s,;&'\"]+"
)
_LONGEST = 200

_background: list[str] = []
"""Tracebacks of errors outside of the main thread's calls, the latest few."""


@dataclass(frozen=True)
class FaultReport:
    """FaultReport: an error with its traceback, the versions and the command line; no environment and no secrets."""

    error: BaseException
    """Error that no code expected."""

    arguments: Sequence[str]
    """Arguments of the command line."""

    def write(self) -> str:
        """Write the report into the user's temporary folder; return the message for the terminal.

        Where no file can be written, the message holds the report itself.
        """
        told = f"unexpected {_summary(self.error)}"
        try:
            number, name = tempfile.mkstemp(prefix="thaw-report-", suffix=".txt")  # for this user alone
            with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(self.text())
        except OSError as error:
            return f"{told}; no report could be written ({error}): please send these lines\n{self.text()}"
        return f"{told}; the report is in {name}: please send it with the sweep file"

    def text(self) -> str:
        """Return the report."""
        command = shlex.join(["thaw", *self.arguments])
        versions = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
        parts = [
            f"command: {command}",
            f"python {platform.python_version()} on {platform.platform()}; {versions}",
            "".join(traceback.format_exception(self.error)),
            *(f"earlier, in the background:\n{text}" for text in _background),
        ]
        return without_secrets("\n\n".join(parts))


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the text without secrets of the environment, users and passwords of URLs, and values of keys."""
    return _SECRET_VALUE.sub(r"\1***", redact(text, environment))


def watch_background() -> None:
    """Log errors of threads and of destructors, which Python prints with a traceback; the log may have no reader."""
    log.addHandler(logging.NullHandler())  # else Python prints what has no other handler
    threading.excepthook = lambda args: _note(f"in thread {getattr(args.thread, 'name', '?')}", args.exc_value)
    sys.unraisablehook = lambda args: _note(f"{args.err_msg or 'ignored in'} {args.object!r}", args.exc_value)


def _note(place: str, error: BaseException | None) -> None:
    if error is None or isinstance(error, KeyboardInterrupt | BrokenPipeError):
        return
    text = f"{place}\n{''.join(traceback.format_exception(error))}"
    _background[:] = [*_background[-4:], text]
    log.error("%s", text)


def _summary(error: BaseException) -> str:
    name = type(error).__name__
    first: Any = next(iter(str(error).splitlines()), "")
    told = without_secrets(first)
    told = told if len(told) <= _LONGEST else f"{told[: _LONGEST - 3]}..."
    return f"{name}: {told}" if told else name


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"

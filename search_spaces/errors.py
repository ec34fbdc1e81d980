"""Exceptions of Thaw.

ThawError                   any error that Thaw raises on purpose  exit code 1
├── InvalidInput            input of the user that cannot be used  exit code 2
├── StorageFailed           a file of a run cannot be kept or read exit code 1
├── TrialFailed             a trial ended without a usable model   exit code 1
│   └── OutOfMemory         not even one image at a time fits      exit code 1
├── SweepFailed             no trial of a sweep completed          exit code 1
└── ExportRefused           the exported model is not the trained  exit code 1
"""

import difflib
from collections.abc import Iterable


class ThawError(Exception):
    """ThawError: any error that Thaw raises on purpose; the message is meant for the user at the terminal."""

    exit_code = 1


class InvalidInput(ThawError):
    """InvalidInput: input of the user that cannot be used. The message is rule, value and remedy."""

    exit_code = 2


class StorageFailed(ThawError):
    """StorageFailed: full disk or unreachable bucket. The sweep ends; it can be resumed once the storage is fixed."""


class TrialFailed(ThawError):
    """TrialFailed: error that ends a trial; the message names epoch, batch and the values that caused it."""


class OutOfMemory(TrialFailed):
    """OutOfMemory: a trial does not fit into memory, however small its micro-batches."""


class SweepFailed(ThawError):
    """SweepFailed: a sweep ended without a single completed trial."""


class ExportRefused(ThawError):
    """ExportRefused: the exported model does not compute what the trained model computes."""


def closest(name: str, valid: Iterable[str], *, limit: int = 5) -> str:
    """Return a remedy for an unknown name: the most similar valid names, or all of them when they are few."""
    names = list(valid)
    matches = difflib.get_close_matches(name, names, n=limit, cutoff=0.5)
    if matches:
        return f"did you mean {' or '.join(matches)}?"
    if len(names) <= 12:
        return f"valid are {', '.join(names)}"
    return f"there are {len(names)} valid names, none is similar"

"""The exceptions of Thaw.

ThawError                   anything Thaw raises on purpose        exit code 1
├── InvalidInput            what the user gave cannot be used      exit code 2
├── StorageFailed           what must last cannot be kept or read  exit code 1
├── TrialFailed             a trial ended without a usable model   exit code 1
│   └── OutOfMemory         not even one image at a time fits      exit code 1
├── SweepFailed             no trial of a sweep completed          exit code 1
└── ExportRefused           the exported model is not the trained  exit code 1
"""

import difflib
from collections.abc import Iterable


class ThawError(Exception):
    """Anything Thaw raises on purpose; the message is meant for the person at the terminal."""

    exit_code = 1


class InvalidInput(ThawError):
    """What the user gave cannot be used. The message is rule, value and remedy."""

    exit_code = 2


class StorageFailed(ThawError):
    """A disk is full, or a bucket out of reach: no fault of a trial. A sweep ends, to be resumed once it is mended."""


class TrialFailed(ThawError):
    """A trial cannot go on; the message names epoch, batch and the values that led there."""


class OutOfMemory(TrialFailed):
    """A trial does not fit into memory, however small its micro-batches."""


class SweepFailed(ThawError):
    """A sweep ended without a single completed trial."""


class ExportRefused(ThawError):
    """The exported model does not compute what the trained model computes."""


def closest(name: str, valid: Iterable[str], *, limit: int = 5) -> str:
    """A remedy for an unknown name: the most similar valid ones, or all of them when they are few."""
    names = list(valid)
    matches = difflib.get_close_matches(name, names, n=limit, cutoff=0.5)
    if matches:
        return f"did you mean {' or '.join(matches)}?"
    if len(names) <= 12:
        return f"valid are {', '.join(names)}"
    return f"there are {len(names)} valid names, none is similar"

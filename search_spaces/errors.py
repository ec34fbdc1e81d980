"""Exceptions of Thaw.

ThawError                   any error that Thaw raises on purpose  exit code 1
├── InvalidInput            input of the user that cannot be used  exit code 2
│   └── BadImages           images that cannot be decoded          exit code 2
├── StorageFailed           a file of a run cannot be kept or read exit code 1
├── TrialFailed             a trial ended without a usable model   exit code 1
│   └── OutOfMemory         not even one image at a time fits      exit code 1
├── SweepFailed             no trial of a sweep completed          exit code 1
└── ExportRefused           the exported model is not the trained  exit code 1
"""

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any


class ThawError(Exception):
    """ThawError: any error that Thaw raises on purpose; the message is meant for the user at the terminal."""

    exit_code = 1


class InvalidInput(ThawError):
    """InvalidInput: input of the user that cannot be used. The message is rule, value and remedy."""

    exit_code = 2


class BadImages(InvalidInput):
    """BadImages: images of a data set that cannot be decoded. The message names ten of them, `faults` all."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        """`faults` is the error of each image by its path."""
        self.faults = dict(sorted(faults.items()))
        messages = list(self.faults.values())
        text = f"{messages[0].rstrip('.')}, or leave it out with `data.on_bad_image: skip`"
        if len(messages) > 1:
            left = len(messages) - _NAMED_IMAGES
            shown = [*messages[:_NAMED_IMAGES], *([f"and {left} more"] if left > 0 else [])]
            remedy = "replace or remove these files, or leave them out with `data.on_bad_image: skip`"
            more = "; `thaw data preview FILE --format json` lists all" if left > 0 else ""
            text = f"every image must be complete and readable, got {len(messages)} that are not; {remedy}{more}"
            text += "".join(f"\n  {message}" for message in shown)
        super().__init__(text)


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


_NAMED_IMAGES = 10

# Names that other tools and scripts use for settings of Thaw.
_OTHER_NAMES = {
    **dict.fromkeys(("learning_rate", "base_lr", "initial_lr", "lr0"), "lr"),
    **dict.fromkeys(("num_epochs", "max_epochs", "n_epochs"), "epochs"),
    **dict.fromkeys(("model", "model_name", "backbone", "arch"), "architecture"),
    **dict.fromkeys(("bs", "train_batch_size"), "batch_size"),
    **dict.fromkeys(("wd",), "weight_decay"),
    **dict.fromkeys(("num_trials", "n_trials", "max_trials"), "trials"),
}

_shortened = reprlib.Repr()
_shortened.maxlevel, _shortened.maxdict, _shortened.maxlist, _shortened.maxtuple = 3, 6, 6, 6
_shortened.maxstring, _shortened.maxlong, _shortened.maxother = 200, 60, 200


def shown(value: Any) -> str:
    """Return a value of the user for a message: as Python writes it, with the middle of a long one left out."""
    return _shortened.repr(value)


def one_of(name: Any, valid: Iterable[str]) -> str:
    """Return rule, value and remedy for a name that must be one of a few; the names are listed once."""
    names = list(valid)
    similar = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(similar)}?" if similar else "choose one of them"
    return f"must be one of {', '.join(names)}, got {shown(name)}; {remedy}"


def closest(name: str, valid: Iterable[str], *, limit: int = 5) -> str:
    """Return a remedy for an unknown name: the most similar valid names, or all of them when they are few."""
    names = list(valid)
    if _OTHER_NAMES.get(name) in names:
        return f"did you mean {_OTHER_NAMES[name]}?"
    matches = difflib.get_close_matches(name, names, n=limit, cutoff=0.5)
    if matches:
        return f"did you mean {' or '.join(matches)}?"
    if len(names) <= 12:
        return f"valid are {', '.join(names)}"
    return f"there are {len(names)} valid names, none is similar"

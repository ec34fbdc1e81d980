"""Listing: answer of a reader, whatever the format of the data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainables.storage.place import Place

Entries = Mapping[str, list[tuple[str, str]]]
"""The (path, class name) pairs of each split."""


@dataclass(frozen=True)
class Origin:
    """Origin of files that were copied to this machine's cache."""

    place: Place
    """Folder, file or path of a bucket, as the user gave it."""

    containers: tuple[Path, ...] = ()
    """Files on a disk that the images were unpacked from."""


@dataclass(frozen=True)
class Listing:
    """Images of a data set as files of this machine, with their classes, and in their splits where there are any."""

    root: Path
    """Folder that the paths are relative to."""

    entries: Entries
    """Pairs (path, class name) by split; images that are to be divided are those of train."""

    remarks: tuple[str, ...] = ()
    """Sentences about what was left out, or taken in one of two ways."""

    origin: Origin | None = None
    """Place that the files were copied from; None where they lie where the user put them."""

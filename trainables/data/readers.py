"""Which images a data set holds, under which split and class. Lists files and reads bytes; decodes nothing.

A reader is a function from what the user has to entries: for each split its (path, class name) pairs. There are two,
one for folders and one for a CSV manifest; what must hold of every data set is checked once, for both, in `_dataset`.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search_spaces.errors import InvalidInput, closest, shown
from search_spaces.permissions import check_readable, missing_permission, permission_errors, refuse_unlisted
from trainables.data.manifest import manifest_entries

SPLITS = ("train", "val", "test")
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")

_FOLDER_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_LAYOUT = "expected are the folders train/ and val/ (test/ is optional), each with one folder of images a class"

Entries = Mapping[str, list[tuple[str, str]]]


@dataclass(frozen=True)
class Sample:
    """One image of a data set."""

    path: str
    """Relative to the root, with forward slashes."""

    label: int
    """Index into the data set's classes."""


@dataclass(frozen=True)
class Dataset:
    """A listed data set: two classes or more, each with images in train; no split is empty."""

    root: Path
    """The folder that the samples' paths are relative to."""

    classes: tuple[str, ...]
    """Class names, sorted; a label is an index into them."""

    splits: Mapping[str, tuple[Sample, ...]]
    """train, val and, where there is one, test; each sorted by path."""

    def read(self, sample: Sample) -> bytes:
        """Read the bytes of the sample's file; raises InvalidInput where it cannot be read."""
        path = self.root / sample.path
        try:
            return path.read_bytes()
        except PermissionError as error:
            raise InvalidInput(missing_permission(path)) from error
        except OSError as error:
            raise InvalidInput(
                f"{path}: every listed image must be readable, got {error.strerror or error}; "
                "restore the file, or take it out of the data set"
            ) from error

    def labels(self, split: str) -> npt.NDArray[np.int64]:
        """Labels of a split, shape (n,), in the split's order."""
        return np.array([sample.label for sample in self.splits[split]], dtype=np.int64)


def open_dataset(root: Path, manifest: Path | None = None) -> Dataset:
    """List the data set under `root`, from its folders or from a CSV `manifest` with the columns path, label, split.

    Folders: `train/ val/ test/` with one folder a class; `valid` and `validation` stand for val, test is optional.
    Dotfiles and files without an image ending are passed over; images in deeper folders count for their class.
    Manifest: paths are relative to `root`, any ending is taken. Raises InvalidInput for what cannot be trained on.
    """
    root = Path(root)
    check_readable(root)
    if not root.is_dir():
        raise InvalidInput(f"{root}: data.root must be a folder, got {_what_is_at(root)}; check the path: {_LAYOUT}")
    if manifest is None:
        return _dataset(root, str(root), _folder_entries(root))
    return _dataset(root, str(manifest), manifest_entries(root, Path(manifest), SPLITS))


def is_image(name: str) -> bool:
    """Return whether a file of this name is taken for an image: a known ending in any case, and no dotfile."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_ENDINGS)


def _dataset(root: Path, where: str, entries: Entries) -> Dataset:
    for split in ("train", "val"):
        if not entries.get(split):
            raise InvalidInput(
                f"{where}: split {split} must hold images, got none; add some ({', '.join(IMAGE_ENDINGS)})"
            )
    classes = tuple(sorted({label for _, label in entries["train"]}))
    if len(classes) < 2:
        raise InvalidInput(f"{where}: a data set needs at least two classes, got one ({classes[0]}); add another class")
    for name in classes:
        if not _is_utf8(name):
            raise InvalidInput(f"{where}: every class must have a name in UTF-8, got {shown(name)}; rename it")
    labels = {name: label for label, name in enumerate(classes)}
    for split, pairs in entries.items():
        unknown = sorted({name for _, name in pairs} - labels.keys())
        if unknown:
            raise InvalidInput(
                f"{where}: every class of {split} must also be in train, got {', '.join(unknown)}; "
                f"add images of it to train, or rename it ({closest(unknown[0], classes)})"
            )
        if not pairs:
            raise InvalidInput(f"{where}: split {split} must hold images, got none; add some, or remove the split")
    # Sorted by path alone: the order is then a function of what the fingerprint covers.
    splits = {
        split: tuple(Sample(path, labels[name]) for path, name in sorted(entries[split]))
        for split in SPLITS
        if split in entries
    }
    return Dataset(root, classes, splits)


def _folder_entries(root: Path) -> Entries:
    entries = {}
    for split, names in _FOLDER_NAMES.items():
        present = [name for name in names if (root / name).is_dir()]
        if len(present) > 1:
            raise InvalidInput(f"{root}: split {split} must be one folder, got {' and '.join(present)}; merge them")
        if present:
            entries[split] = _split_entries(root, root / present[0], split)
        elif split != "test":
            got = ", ".join(sorted(f"{name}/" for name in _class_folders(root))) or "no folders"
            raise InvalidInput(f"{root}: folder {split}/ is required, got {got}; {_LAYOUT}")
    return entries


def _split_entries(root: Path, folder: Path, split: str) -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    empty = []
    for name in _class_folders(folder):
        images = [(path, name) for path in _images_below(folder / name, root)]
        entries.extend(images)
        if not images:
            empty.append(name)
    if entries and empty and split == "train":
        raise InvalidInput(
            f"{folder}: every class of train must hold images, got none in {', '.join(empty)}; "
            "add images or remove the folder"
        )
    return entries


def _class_folders(folder: Path) -> list[str]:
    with permission_errors(folder):
        return sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _images_below(folder: Path, root: Path) -> Iterator[str]:
    for directory, folders, files in os.walk(folder, onerror=refuse_unlisted, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        # One path object a folder: one a file would cost more than all else that a trial looks up.
        inside = Path(directory).relative_to(root).as_posix()
        yield from (f"{inside}/{name}" for name in files if is_image(name))


def _is_utf8(name: str) -> bool:
    """Return whether a name can be written to a file: Python reads other bytes of a folder as half characters."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _what_is_at(path: Path) -> str:
    return "a file" if path.exists() else "nothing there"

"""Listing of a data set that leaves out nothing without a word: what a reader refuses is a finding here."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from search_spaces.errors import InvalidInput, shown
from search_spaces.user_files import IMAGE, open_user_file
from trainables.data.check.finding import Finding, finding
from trainables.data.readers import SPLITS
from trainables.data.sources.folders import inner_folders_remark
from trainables.data.sources.image_walk import (
    LINK,
    NOWHERE,
    folder_identity,
    is_folder,
    leads_back,
    list_folder,
    reason_left_out,
)
from trainables.data.sources.manifest import NO_LABELS, manifest_path
from trainables.data.sources.manifest_table import SPLIT_WORDS, ManifestRow, manifest_rows

_STRAY = "outside a class folder"
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")


class ListedImage(NamedTuple):
    """ListedImage: one image file of a data set."""

    path: str
    """Relative to the root, with forward slashes."""

    split: str | None
    """train, val or test; None where the images are not split."""

    label: str
    """Name of its class."""


@dataclass(frozen=True)
class FullListing:
    """FullListing: the image files of a data set, whatever is wrong with it."""

    root: Path
    """Folder that the paths are relative to."""

    entries: tuple[ListedImage, ...]
    """Images, sorted by path."""

    findings: tuple[Finding, ...]
    """Findings from names alone."""

    folders: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Classes of each split that exists, also those without images; empty where the images are not split."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that exist, also those without images, in the usual order."""
        return tuple(split for split in SPLITS if split in self.folders)


def list_folders(root: Path, splits: Sequence[str] = SPLITS) -> FullListing:
    """List the folders of a data set: one per split, in it one per class, or one per class alone.

    Listed are the same images as by `open_dataset` where that refuses nothing. Raises InvalidInput where `root` itself
    cannot be listed.
    """
    walk = _Walk(root)
    there = [entry for entry in list_folder(root) if walk.is_folder(entry)]
    by_split: defaultdict[str, list[Path]] = defaultdict(list)
    for folder in (root / entry.name for entry in there if not entry.name.startswith(".")):
        by_split[_split(folder.name)].append(folder)
    divided = {split: by_split[split] for split in SPLITS if split in by_split}
    if "train" not in divided and len(divided) < 2:
        classes = walk.classes(root)
        return walk.listing([*walk.entries(None, classes, classes)])
    homes = {folder: walk.classes(folder) for folders in divided.values() for folder in folders}
    fence = [*homes, *(folder for own in homes.values() for folder in own)]
    entries: list[ListedImage] = []
    names: dict[str, frozenset[str]] = {}
    for split in splits:
        own = [folder for home in divided.get(split, ()) for folder in homes[home]]
        entries += walk.entries(split, own, fence)
        if split in divided:
            names[split] = frozenset(folder.name for folder in own)
    return walk.listing(entries, names)


def list_manifest(root: Path, manifest: Path, splits: Sequence[str] = SPLITS, *, divided: bool = False) -> FullListing:
    """List the rows of a manifest. Raises InvalidInput where it is no table with paths and labels."""
    try:
        rows, has_splits = manifest_rows(manifest, divided=divided), not divided
    except InvalidInput:
        rows, has_splits = manifest_rows(manifest, divided=True), False
    entries: list[ListedImage] = []
    found: list[Finding] = []
    for row in rows:
        entry = _manifest_entry(root, manifest, row, found, has_splits=has_splits)
        if entry is not None and (entry.split is None or entry.split in splits):
            entries.append(entry)
    twice = {path for path, count in Counter(entry.path for entry in entries).items() if count > 1}
    found += [finding("listed_twice", [path], "rows of the manifest name it more than once") for path in sorted(twice)]
    kept = tuple(sorted({entry.path: entry for entry in entries}.values()))
    used = {entry.split for entry in kept}
    names = {split: frozenset(entry.label for entry in kept if entry.split == split) for split in used if split}
    return FullListing(root, kept, tuple(found), names)


def _split(name: str) -> str:
    return SPLIT_WORDS.get(name.lower(), name.lower())


def _manifest_entry(
    root: Path, manifest: Path, row: ManifestRow, found: list[Finding], *, has_splits: bool
) -> ListedImage | None:
    split = _split(row.split) if has_splits else None
    where = f"line {row.line} of {manifest.name}"
    try:
        path = manifest_path(root, manifest, row)
    except InvalidInput as error:
        found.append(finding("layout", [row.path], str(error)))
        return None
    if not (root / path).is_file():
        found.append(finding("missing", [path], f"no file at {where}"))
    elif split is not None and split not in SPLITS:
        found.append(finding("layout", [path], f"split {shown(row.split)} in {where} is none of {', '.join(SPLITS)}"))
    elif row.label.lower() in NO_LABELS:
        found.append(finding("layout", [path], f"no label in {where}"))
    else:
        return ListedImage(path, split, row.label)
    return None


class _Walk:
    """_Walk: the folders of one data set; `found` gets what is left out and what cannot be read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: list[Finding] = []

    def classes(self, folder: Path) -> list[Path]:
        """Return the folders of the classes in a folder, sorted."""
        classes = []
        for entry in self._listed(folder):
            if not self.is_folder(entry):
                self._leave_out(entry, reason_left_out(entry) or _STRAY)
            elif entry.name.startswith("."):
                self._leave_out(entry, "hidden")
            elif entry.is_symlink() and _leads_astray(Path(entry.path).resolve(), folder.resolve()):
                self._leave_out(entry, LINK)
            else:
                classes.append(folder / entry.name)
        return sorted(classes)

    def entries(self, split: str | None, classes: Sequence[Path], fence: Collection[Path]) -> Iterator[ListedImage]:
        """Yield the images of classes; a link to a folder in or around `fence` is left out."""
        homes = {folder.resolve() for folder in fence}
        for folder in classes:
            for path in self._images_below(folder, homes):
                yield ListedImage(self._name(path), split, folder.name)

    def listing(
        self, entries: Sequence[ListedImage], names: Mapping[str, frozenset[str]] = MappingProxyType({})
    ) -> FullListing:
        """Return what was listed, with the remark of the reader on folders that each class has."""
        images = tuple(sorted(entries))
        pairs = [(image.path, image.label) for image in images if image.split in (None, "train")]
        remark = inner_folders_remark(pairs) if pairs else None
        if remark is not None:
            self.found.append(finding("remark", [str(self.root)], remark))
        return FullListing(self.root, images, tuple(self.found), names)

    def is_folder(self, entry: os.DirEntry[str]) -> bool:
        """Return whether an entry is a folder, or a link to one."""
        try:
            return is_folder(entry)
        except InvalidInput as error:
            self.found.append(finding("no_access", [self._name(entry.path)], str(error)))
            return False

    def _images_below(self, folder: Path, homes: Collection[Path]) -> Iterator[str]:
        seen = {folder_identity(folder.stat())}
        to_list = [str(folder)]
        while to_list:
            for entry in self._listed(to_list.pop()):
                if not self.is_folder(entry):
                    reason = reason_left_out(entry)
                    if reason is None:
                        yield entry.path
                    else:
                        self._leave_out(entry, reason)
                elif entry.name.startswith("."):
                    self._leave_out(entry, "hidden")
                elif entry.is_symlink() and leads_back(entry.path, homes):
                    self._leave_out(entry, LINK)
                elif (identity := folder_identity(entry.stat())) not in seen:
                    seen.add(identity)
                    to_list.append(entry.path)

    def _listed(self, folder: Path | str) -> list[os.DirEntry[str]]:
        try:
            return list_folder(folder)
        except InvalidInput as error:
            self.found.append(finding("no_access", [self._name(folder)], str(error)))
            return []

    def _leave_out(self, entry: os.DirEntry[str], reason: str) -> None:
        is_named = reason in ("hidden", LINK, NOWHERE, _STRAY)
        if not is_named and _begins_as_image(Path(entry.path)):
            text = f"the bytes are those of an image, the name is {reason}"
            self.found.append(finding("unlisted_image", [self._name(entry.path)], text))
        else:
            self.found.append(finding("left_out", [self._name(entry.path)], reason))

    def _name(self, path: Path | str) -> str:
        return Path(path).relative_to(self.root).as_posix()


def _leads_astray(real: Path, folder: Path) -> bool:
    """Return whether a link among classes leads to all of them, or to one of them by another name."""
    return folder.is_relative_to(real) or real.is_relative_to(folder)


def _begins_as_image(path: Path) -> bool:
    try:
        with open_user_file(path, IMAGE) as file:
            return file.read(16).startswith(_SIGNATURES)
    except (OSError, InvalidInput):
        return False

"""Containers of images: files that each hold many, named by their split, unpacked once per node as plain files."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import count, filterfalse, islice
from pathlib import Path
from typing import Any

from search_spaces.errors import InvalidInput, shown
from trainables.data.node_cache import Progress
from trainables.data.sources.folders import left_out_text, splits_named
from trainables.data.sources.listing import Entries, Listing, Origin
from trainables.data.sources.node_copy import copied_once, inner_parts
from trainables.data.sources.source_files import BucketFiles, DiskFiles, SourceFile

_UNNAMED = ""
"""Split of images in containers that are named by none."""

# Of a name like train-00000-of-00003.parquet.
_NUMBERED = re.compile(r"(.*?)(\d+)-of-(\d+)", re.DOTALL)
_NAMED = 3


class UnpackedImages:
    """UnpackedImages: folder that images are written to as `<split>/<class>/<name>`."""

    def __init__(self, folder: Path) -> None:
        """Begin an empty one in `folder`, which is empty."""
        self._folder = folder
        self.entries: dict[str, list[tuple[str, str]]] = {}
        self.left_out = Counter[str]()

    def scratch(self) -> Path:
        """Return the folder for files that have no place yet."""
        folder = self._folder.with_name("incoming")
        folder.mkdir(exist_ok=True)
        return folder

    def add(self, image: Path, container: str, name: str, label: str, split: str | None) -> None:
        """Move a file to its place, by its `name` in the container: a name that is taken gets a folder of its own.

        A split that is named by the first folder of `name` needs none, and a class below it neither: `train/cat/a.jpg`.
        Raises InvalidInput for a name or class that cannot be one of a file.
        """
        parts = inner_parts(container, name)
        folder, inner = split, next(iter(splits_named(parts[0])), None) if len(parts) > 1 else None
        if inner is not None and parts[0] != label and split in (None, inner):
            split, folder, parts = inner, parts[0], parts[1:]
        if len(parts) > 1 and parts[0] == label:
            parts = parts[1:]
        begin = (*filter(None, [folder]), *inner_parts(container, _as_folder(container, label)))
        stem = Path(container).name.partition(".")[0]
        number = len(self.entries.get(split or _UNNAMED, ()))
        for place in ((*begin, *parts), (*begin, stem, *parts), (*begin, stem, str(number), *parts)):
            target = self._folder.joinpath(*place)
            if not os.path.lexists(target) and not any(parent.is_file() for parent in target.parents):
                target.parent.mkdir(parents=True, exist_ok=True)
                image.rename(target)
                self.entries.setdefault(split or _UNNAMED, []).append(("/".join(place), label))
                return
        raise InvalidInput(f"{container}: every image must have a name of its own, got {shown(name)} twice; rename one")


Unpack = Callable[[Path, SourceFile, str | None, UnpackedImages], None]
"""Unpack a container of this machine, as it is named at its origin and of a split, into a folder."""


def unpacked(
    source: DiskFiles | BucketFiles,
    kind: str,
    containers: Sequence[SourceFile],
    used: Sequence[str],
    unpack: Unpack,
    cache: Path,
    needed: int,
    key: Sequence[Any] = (),
    on_progress: Progress | None = None,
) -> Listing:
    """Unpack the containers that hold one of the splits that are `used`, once per node, and list their images.

    The name of a container says its split: `train-000000.tar`, `data/validation-00000-of-00001.parquet`, `test/0.tar`.
    `key` stands for what else decides the result. Raises what `unpack` and `copied_once` raise, and InvalidInput for a
    name that stands for two splits, and where a container is lacking.
    """
    split_of = {file: split_of_name(f"{source.place}/{file.name}", file.name) for file in containers}
    read = [file for file in containers if split_of[file] is None or split_of[file] in used]
    if not (isinstance(source, DiskFiles) and source.place.is_file()):  # a single file is what the user chose
        _check_complete(str(source.place), [file.name for file in read])

    def fill(folder: Path) -> Any:
        images = UnpackedImages(folder)
        for done, file in enumerate(read, start=1):
            with source.local(file, folder.parent) as path:
                unpack(path, file, split_of[file], images)
            if on_progress is not None:
                on_progress(done, len(read))
        images.scratch().rmdir()
        return {"entries": images.entries, "left_out": images.left_out}

    folder, contents = copied_once(cache, source.place, [kind, read, *key], needed, fill)
    entries = {split: [(path, label) for path, label in pairs] for split, pairs in contents["entries"].items()}
    left_out = Counter(contents["left_out"])
    on_disk = tuple(source.path(file) for file in read) if isinstance(source, DiskFiles) else ()
    remarks = (left_out_text(left_out),) if left_out else ()
    return Listing(folder, entries, remarks, Origin(source.place, on_disk))


def _check_complete(where: str, names: Sequence[str]) -> None:
    """Raise InvalidInput where some of `train-00000-of-00003` and so on are lacking."""
    groups: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    widths: dict[tuple[str, str], int] = {}
    for found in filter(None, map(_NUMBERED.match, names)):
        begin, number, total = found.groups()
        groups[begin, total].add(int(number))
        widths[begin, total] = len(number)
    for (begin, total), numbers in groups.items():
        lacking = int(total) - len(numbers)
        if lacking > 0:
            first = int(int(total) in numbers)  # some count from 1
            named = islice(filterfalse(numbers.__contains__, count(first)), min(lacking, _NAMED))
            got = ", ".join(f"{begin}{number:0{widths[begin, total]}d}-of-{total}" for number in named)
            more = f" and {lacking - _NAMED} more" if lacking > _NAMED else ""
            raise InvalidInput(
                f"{where}: all {int(total)} files of a split must be there, got {len(numbers)}, without {got}{more}; "
                "copy the others there, or rename these to use them alone"
            )


def in_splits(where: str, entries: Entries, *, divided: bool) -> Entries:
    """Return the entries with those of no split as those of train, where the images are `divided`.

    Raises InvalidInput where some or all images are in no split otherwise.
    """
    unnamed = entries.get(_UNNAMED, [])
    named = sorted(split for split in entries if split)
    if not unnamed:
        return entries
    if named:
        raise InvalidInput(
            f"{where}: every file must be named by its split, or none, got {', '.join(named)} and {len(unnamed)} "
            f"images in no split, e.g. {shown(unnamed[0][0])}; rename the files, or move those that do not belong there"
        )
    if not divided:
        raise InvalidInput(
            f"{where}: every file must be named by its split, as in train-000000.tar or train-00000-of-00001.parquet, "
            "got none that is; rename them, or set `data.split: {val: 0.15}`, which divides the images"
        )
    return {"train": unnamed}


def split_of_name(where: str, name: str) -> str | None:
    """Return the split that a file is named by, or else its nearest folder."""
    for part in reversed(name.split("/")):
        found = splits_named(part)
        if len(found) > 1:
            raise InvalidInput(f"{where}: must be named by one split, got {' and '.join(sorted(found))}; rename it")
        if found:
            return found.pop()
    return None


def _as_folder(container: str, label: str) -> str:
    """Return the name of a class as that of one folder."""
    if not label.strip():
        raise InvalidInput(f"{container}: every image must have a class, got {shown(label)}; name it")
    return "%2E" * len(label) if label in (".", "..") else label.replace("/", "%2F").replace("\0", "%00")

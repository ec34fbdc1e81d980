"""Tar shards of images, as WebDataset writes them: `000017.jpg` beside `000017.cls`, or images in folders of classes.

WebDataset, "The WebDataset Format": files of one sample share their name up to the first dot of its last part.
"""

import json
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from search_spaces.errors import InvalidInput, shown
from search_spaces.user_files import IMAGE, open_user_file
from trainables.data.node_cache import Progress
from trainables.data.sources.containers import UnpackedImages, unpacked
from trainables.data.sources.folders import splits_named
from trainables.data.sources.image_walk import is_image, is_litter
from trainables.data.sources.listing import Listing
from trainables.data.sources.manifest_table import usual_words
from trainables.data.sources.source_files import BucketFiles, DiskFiles, SourceFile
from trainables.data.sources.user_errors import TAR, reading_errors

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")

_CLASS_FILES = ("classes.txt", "classnames.txt")
# In the order in which they are asked for the class: a text may be a caption.
_LABELS = ("cls", "json", "txt")
_LARGEST_LABEL = 2**20
_BLOCK = 512
# By how much an archive may be larger than its file: photos are compressed already.
_LARGEST_RATIO, _USUAL_SIZE = 100, 2**26


def read_shards(
    source: DiskFiles | BucketFiles, used: Sequence[str], cache: Path, on_progress: Progress | None = None
) -> Listing:
    """List the images of the tar shards of a data set, in the order of the shards' names.

    The class of an image is the content of the `.cls`, `.json` (its field label, class, ...) or `.txt` of its sample; a
    number is a line of `classes.txt` or `classnames.txt` beside the shards, or is the class where there is none.
    Shards without such files hold one folder per class. Splits are those of the shards' names, or the first folder
    within. Links and devices are left out. Raises InvalidInput for what cannot be read.
    """
    shards = [file for file in source.files if file.name.lower().endswith(TAR_ENDINGS)]
    if not shards:
        raise InvalidInput(
            f"{source.place}: format webdataset needs tar shards, as train-000000.tar, in data.root or in its folder "
            "data/, got none; check data.root, or set data.format: auto"
        )
    tables = [file for file in source.files if PurePosixPath(file.name).name in _CLASS_FILES]
    if len(tables) > 1:
        raise InvalidInput(
            f"{source.place}: class names must stand in one file, got {' and '.join(file.name for file in tables)}; "
            "remove one"
        )

    def unpack(path: Path, file: SourceFile, split: str | None, images: UnpackedImages) -> None:
        where = f"{source.place}/{file.name}"
        with reading_errors(where, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError):
            _Shard(where, images, split, _class_names(source, tables, path.parent)).unpack(path, file.size)

    needed = sum(file.size for file in shards)
    return unpacked(source, "webdataset", shards, used, unpack, cache, needed, tables, on_progress)


def _class_names(source: DiskFiles | BucketFiles, tables: Sequence[SourceFile], scratch: Path) -> list[str] | None:
    """Return the class of each number; None where no file names them."""
    for table in tables:
        with source.local(table, scratch) as path, reading_errors(f"{source.place}/{table.name}"):
            return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    return None


@dataclass
class _Shard:
    """One shard while it is unpacked."""

    where: str
    images: UnpackedImages
    split: str | None
    classes: Sequence[str] | None
    files: list[tuple[str, Path]] = field(default_factory=list)
    labels: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def unpack(self, path: Path, size: int) -> None:
        """Write the images of the shard, and move each to its place once the labels are known."""
        read = 0
        incoming = self.images.scratch()
        with open_user_file(path, TAR) as file, tarfile.open(fileobj=file, mode="r:*") as tar:
            for member in tar:
                read += _BLOCK + (member.size if member.isreg() else 0)
                if read > max(_USUAL_SIZE, _LARGEST_RATIO * size):
                    raise InvalidInput(
                        f"{self.where}: a shard must hold at most {_LARGEST_RATIO} times its own {size:,} bytes, got "
                        f"more at {shown(member.name)}; pack the images anew"
                    )
                self._take(tar, member, incoming)
        around = _around_splits([PurePosixPath(name.lstrip("/")) for name, _ in self.files])
        for name, image in self.files:
            inner = str(PurePosixPath(name.lstrip("/")).relative_to(around))
            self.images.add(image, self.where, inner, self._label(name, inner), self.split)

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, incoming: Path) -> None:
        name = PurePosixPath(member.name)
        stem, _, ending = name.name.rpartition(".")
        if member.isdir():
            return
        if not member.isreg():
            self.images.left_out["link or device"] += 1
        elif any(is_litter(part) or (part.startswith(".") and part != "..") for part in name.parts):
            self.images.left_out["hidden"] += 1
        elif is_image(name.name):
            if member.size > IMAGE.largest:
                raise InvalidInput(
                    f"{self.where}: an image must have at most {IMAGE.largest:,} bytes, got {member.size:,} in "
                    f"{shown(member.name)}; remove it"
                )
            target = incoming / str(len(self.files))
            with tar.extractfile(member) as content, target.open("wb") as file:  # type: ignore[union-attr]
                shutil.copyfileobj(content, file)
            self.files.append((member.name, target))
        elif ending in _LABELS and member.size <= _LARGEST_LABEL:
            with tar.extractfile(member) as content:  # type: ignore[union-attr]
                self.labels.setdefault(str(name.with_name(stem)), {})[ending] = content.read()
        else:
            self.images.left_out[f".{ending}" if stem else "without a usual ending"] += 1

    def _label(self, name: str, inner: str) -> str:
        """Return the class of an image, by the files of its sample or by its folder."""
        path = PurePosixPath(name)
        samples = (str(path.with_name(path.name.rpartition(".")[0])), str(path.with_name(path.name.split(".")[0])))
        found = next((self.labels[sample] for sample in samples if sample in self.labels), None)
        if found is None:
            return self._folder(PurePosixPath(inner))
        kind = next(kind for kind in _LABELS if kind in found)
        label = _text(self.where, name, kind, found[kind])
        if self.classes is None or label in self.classes:
            return label
        if label.isdecimal() and int(label) < len(self.classes):
            return self.classes[int(label)]
        raise InvalidInput(
            f"{self.where}: every class must be one of the {len(self.classes)} that are named beside the shards, or "
            f"the number of its line from 0, got {shown(label)} for {shown(name)}; correct it"
        )

    def _folder(self, path: PurePosixPath) -> str:
        folders = path.parts[:-1]
        if len(folders) > 1 and splits_named(folders[0]):
            folders = folders[1:]
        if self.labels or not folders:
            has = "no folder" if not folders else f"{len(self.labels)} labels for other images"
            raise InvalidInput(
                f"{self.where}: every image must have a class in a .cls, .json or .txt of its name, or all of them lie "
                f"in one folder per class, got {shown(str(path))} with {has}; write a .cls for it"
            )
        return folders[0]


def _around_splits(paths: Sequence[PurePosixPath]) -> PurePosixPath:
    """Return the folder that holds all folders of splits, as `photos` in `photos/train/cat/a.jpg`; `.` without one."""
    first = {path.parts[0] for path in paths if len(path.parts) > 3 and splits_named(path.parts[1])}
    is_around = len(first) == 1 and all(len(path.parts) > 3 and path.parts[0] in first for path in paths)
    return PurePosixPath(*first) if is_around and not any(map(splits_named, first)) else PurePosixPath()


def _text(where: str, name: str, kind: str, content: bytes) -> str:
    """Return the class that a file of a sample holds, as a text."""
    try:
        text = content.decode().strip()
        value: Any = json.loads(text) if kind == "json" else text
    except ValueError as error:
        raise InvalidInput(
            f"{where}: .{kind} of {shown(name)} must be {kind} in UTF-8, got {error}; mend it"
        ) from error
    if isinstance(value, Mapping):
        fields = usual_words("label", [*value])
        if len(fields) != 1:
            raise InvalidInput(
                f"{where}: .json of {shown(name)} must have one field label, got {shown([*value])}; write one"
            )
        value = [*value.values()][fields[0]]
    if isinstance(value, bool) or not isinstance(value, str | int) or "\n" in str(value) or not str(value).strip():
        raise InvalidInput(
            f"{where}: .{kind} of {shown(name)} must hold one class in one line, got {shown(value)}; "
            "write its name or number as .cls"
        )
    return str(value).strip()

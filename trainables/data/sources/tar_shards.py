"""Tar shards of images, as WebDataset writes them: `000017.jpg` beside `000017.cls`, or images in folders of classes.

WebDataset, "The WebDataset Format": files of one sample share their name up to the first dot of its last part.
"""

import gzip
import json
import lzma
import shutil
import tarfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from search_spaces.errors import InvalidInput, shown
from search_spaces.user_files import IMAGE, open_user_file
from trainables.data.node_cache import Progress
from trainables.data.sources.class_names import check_distinct, class_text
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
# Zeros behind the last file, of which so many bytes are looked at.
_LARGEST_PADDING = 2**20
# By how much an archive may be larger than its file: photos are compressed already.
_LARGEST_RATIO, _USUAL_SIZE = 100, 2**26


def read_shards(
    source: DiskFiles | BucketFiles, used: Sequence[str], cache: Path, on_progress: Progress | None = None
) -> Listing:
    """List the images of the tar shards of a data set, in the order of the shards' names.

    The class of an image is the content of the `.cls`, `.json` (its field label, class, ...) or `.txt` of its sample; a
    number is a line of `classes.txt` or `classnames.txt` beside the shards, or is the class where there is none.
    Shards without such files hold one folder per class. Splits are those of the shards' names, or the first folder
    within. Links, devices and further images of a sample, as the mask `000017.seg.png`, are left out. Raises
    InvalidInput for what cannot be read, also a shard that was cut off, and a key that occurs twice in a shard.
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
        with reading_errors(where, tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError):
            _Shard(where, images, split, _class_names(source, tables, path.parent)).unpack(path, file.size)

    needed = sum(file.size for file in shards)
    return unpacked(source, "webdataset", shards, used, unpack, cache, needed, tables, on_progress)


def _class_names(source: DiskFiles | BucketFiles, tables: Sequence[SourceFile], scratch: Path) -> list[str] | None:
    """Return the class of each number; None where no file names them."""
    for table in tables:
        with source.local(table, scratch) as path, reading_errors(f"{source.place}/{table.name}"):
            names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        check_distinct(f"{source.place}/{table.name}", names)
        return names
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
        with open_user_file(path, TAR) as file, _opened(file, size) as tar:
            for member in tar:
                read += _BLOCK + (member.size if member.isreg() else 0)
                if read > max(_USUAL_SIZE, _LARGEST_RATIO * size):
                    raise InvalidInput(
                        f"{self.where}: a shard must hold at most {_LARGEST_RATIO} times its own {size:,} bytes, got "
                        f"more at {shown(member.name)}; pack the images anew"
                    )
                self._take(tar, member, incoming)
            _check_end(tar)
        photos = self._photos()
        around = _around_splits([PurePosixPath(name.lstrip("/")) for name, _ in photos])
        for name, image in photos:
            inner = str(PurePosixPath(name.lstrip("/")).relative_to(around))
            self.images.add(image, self.where, inner, self._label(name, inner), self.split)

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, incoming: Path) -> None:
        name = PurePosixPath(member.name)
        stem, _, ending = name.name.rpartition(".")
        kind = ending.lower()
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
        elif stem and kind in _LABELS and member.size <= _LARGEST_LABEL:
            labels = self.labels.setdefault(_stem(name), {})
            if kind in labels:
                raise InvalidInput(
                    f"{self.where}: every key must occur once in a shard, got a second .{kind} for "
                    f"{shown(_stem(name))}; give each sample a key of its own, and pack the images anew"
                )
            with tar.extractfile(member) as content:  # type: ignore[union-attr]
                labels[kind] = content.read()
        else:
            self.images.left_out[f".{ending}" if stem else "without a usual ending"] += 1

    def _photos(self) -> list[tuple[str, Path]]:
        """Return the images without further ones of a sample, as the mask `000017.seg.png` beside `000017.jpg`.

        In a shard without any image that is named by its key alone, the only image of a sample is its photo.
        """
        keys = {name: self._key(name) for name, _ in self.files}
        further = {name for name, key in keys.items() if key not in (None, _stem(PurePosixPath(name)))}
        if all(name in further or key is None for name, key in keys.items()):
            further.clear()
        photos = []
        for name, image in self.files:
            if name in further:
                self.images.left_out["beside the photo of a sample"] += 1
                image.unlink()
            else:
                photos.append((name, image))
        counts = Counter(key for name, _ in photos if (key := keys[name]) is not None)
        twice = next((key for key, count in counts.items() if count > 1), None)
        if twice is not None:
            got = " and ".join(shown(name) for name, _ in photos if keys[name] == twice)
            raise InvalidInput(
                f"{self.where}: every sample must have one image, named by its key, got {got} for {shown(twice)}; "
                "give each image a key and a .cls of its own, and pack them anew"
            )
        return photos

    def _key(self, name: str) -> str | None:
        """Return the key of an image's sample, None without: its name to the first dot, or to the last one.

        The first is WebDataset's rule; the last is for photos with dots in their names.
        """
        path = PurePosixPath(name)
        keys = (str(path.with_name(path.name.split(".")[0])), _stem(path))
        return next((key for key in keys if key in self.labels), None)

    def _label(self, name: str, inner: str) -> str:
        """Return the class of an image, by the files of its sample or by its folder."""
        key = self._key(name)
        if key is None:
            return self._folder(PurePosixPath(inner))
        found = self.labels[key]
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


def _stem(path: PurePosixPath) -> str:
    return str(path.with_name(path.name.rpartition(".")[0]))


def _opened(file: BinaryIO, size: int) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r:*")
    except tarfile.ReadError as error:  # its text lists what each kind of compression says
        raise tarfile.ReadError("no tar archive, plain or compressed" if size else "an empty file") from error


def _check_end(tar: tarfile.TarFile) -> None:
    """Raise ReadError where an archive that was read does not end with two blocks of zeros and nothing but zeros.

    tarfile takes a cut between two files, a damaged header and the end of a first archive for the end. It has read the
    first block; to go back to it would decompress all again.
    """
    length, rest = 0, b""
    while not rest and length < _LARGEST_PADDING and (part := tar.fileobj.read(2**16)):
        length, rest = length + len(part), part.strip(b"\0")
    if rest:
        raise tarfile.ReadError("data behind its end: a damaged header, or two archives in one file")
    if length < _BLOCK:
        raise tarfile.ReadError("no end of the archive, as of one that was cut off")


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
            f"{where}: .{kind} of {shown(name)} must be {kind} in UTF-8, got {error}; write it anew"
        ) from error
    if isinstance(value, Mapping):
        fields = usual_words("label", [*value])
        if len(fields) != 1:
            raise InvalidInput(
                f"{where}: .json of {shown(name)} must have one field label, got {shown([*value])}; write one"
            )
        value = [*value.values()][fields[0]]
    return class_text(f"{where}: .{kind} of {shown(name)}", value)

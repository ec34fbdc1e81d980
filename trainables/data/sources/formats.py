"""Formats of a data set: one reader for each, and the recognition of the format of a folder or bucket."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from search_spaces.errors import InvalidInput
from search_spaces.permissions import check_readable
from trainables.data.node_cache import Progress
from trainables.data.sources.containers import in_splits, split_of_name
from trainables.data.sources.folders import (
    LAYOUT,
    folder_entries,
    has_train,
    inner_folders_remark,
    left_out_text,
    present_entries,
    undivided_entries,
)
from trainables.data.sources.image_folder import METADATA, metadata_files, read_image_folder
from trainables.data.sources.listing import Listing, Origin
from trainables.data.sources.manifest import manifest_entries
from trainables.data.sources.parquet_files import PARQUET_ENDINGS, read_parquet
from trainables.data.sources.source_files import BucketFiles, DiskFiles
from trainables.data.sources.tar_shards import TAR_ENDINGS, read_shards
from trainables.data_config import DataFormat
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place

_SPLITS = ("train", "val", "test")
_CONTAINERS = {"parquet": PARQUET_ENDINGS, "webdataset": TAR_ENDINGS}
_READ = {"parquet": read_parquet, "webdataset": read_shards}


class Wanted(NamedTuple):
    """Wanted: what is asked of a reader."""

    splits: Sequence[str] = _SPLITS
    """Splits that are used, where they exist."""

    divided: bool = False
    """True where images that are in no split are divided afterwards."""

    manifest: Place | None = None
    """List of the images, in place of folders."""

    format: DataFormat = "auto"
    """Format of the data set; auto: as it is recognized."""

    group_by: str | None = None
    """Column of the manifest that is read beside the others, and is no class, where there is one of that name."""

    is_pooled: bool = False
    """True where train and val are joined and divided into folds, whether the images are split or not."""

    @property
    def is_divided(self) -> bool:
        """True where the images need not be in splits."""
        return self.divided or self.is_pooled


def read_images(root: Place, wanted: Wanted, cache: Path, on_progress: Progress | None = None) -> Listing:
    """List the images of a data set on a disk or in a bucket.

    What lies in a bucket, or within other files, is first copied below `cache`, once per node; `on_progress(done,
    total)` is called for each file of that. Raises InvalidInput for what cannot be read in the format, and
    StorageFailed where a bucket or the cache cannot be used.
    """
    source = BucketFiles(root) if isinstance(root, BucketPath) else DiskFiles(Path(root))
    if isinstance(source, DiskFiles):
        _check_root(source.place)
    kind: str = wanted.format if wanted.manifest is None else "manifest"
    if kind == "auto":
        kind = _recognized_container(source) or kind
    if kind in _READ:
        listing = _READ[kind](source, wanted.splits, cache, on_progress)
        return replace(listing, entries=in_splits(str(root), listing.entries, divided=wanted.is_divided))
    if isinstance(source, DiskFiles):
        return _read_folder(source.place, kind, wanted)
    local = source.fetched(cache, on_progress)
    try:
        return replace(_read_folder(local, kind, wanted), origin=Origin(source.place))
    except InvalidInput as error:  # it names files of the copy
        raise InvalidInput(str(error).replace(str(local), str(root))) from error


def holds_images(root: Path, format: DataFormat) -> bool:
    """Return whether a place on a disk is a folder of image files and of nothing that has to be unpacked or looked up.

    Raises InvalidInput where there is nothing.
    """
    _check_root(root)
    if not root.is_dir() or format not in ("auto", "folders"):
        return False
    return format == "folders" or (_recognized_container(DiskFiles(root)) is None and not metadata_files(root))


def is_container(place: Place) -> bool:
    """Return whether a place is named as one file that holds images."""
    return place.name.lower().endswith((*PARQUET_ENDINGS, *TAR_ENDINGS))


def recognized_splits(root: Place) -> set[str] | None:
    """Return the splits of a data set in another format than folders, by the names of its files; None for folders.

    None also for image files in a bucket. Nothing is unpacked. Raises InvalidInput for metadata that cannot be read.
    """
    source = BucketFiles(root) if isinstance(root, BucketPath) else DiskFiles(root)
    if isinstance(root, Path):
        _check_root(root)
    kind = _recognized_container(source)
    if kind is not None:
        names = [file.name for file in source.files if file.name.lower().endswith(_CONTAINERS[kind])]
        return {split for name in names if (split := split_of_name(f"{root}/{name}", name)) is not None}
    if isinstance(root, BucketPath) or not metadata_files(root):
        return None
    try:
        undivided_entries(root, _SPLITS, Counter())
    except InvalidInput:
        return {*read_image_folder(root, _SPLITS, divided=True).entries}
    return None


def _read_folder(root: Path, kind: str, wanted: Wanted) -> Listing:
    if not root.is_dir():
        raise InvalidInput(
            f"{root}: data.root must be a folder for data.format {kind}, got a file; check the path: {LAYOUT}"
        )
    if wanted.manifest is not None:
        entries = manifest_entries(
            root, wanted.manifest, _SPLITS, wanted.splits, divided=wanted.is_divided, group_by=wanted.group_by
        )
        return Listing(root, entries)
    if kind == "huggingface":
        return read_image_folder(root, wanted.splits, divided=wanted.is_divided)
    if kind == "folders" or not (metadata := metadata_files(root)):
        return _read_classes(root, wanted)
    try:
        found = _read_classes(root, wanted)
    except InvalidInput:  # the images are in no folders of classes
        return read_image_folder(root, wanted.splits, divided=wanted.is_divided)
    remark = (
        f"folders are taken for the classes, and {metadata[0].name} is not read: set data.format to folders if that is "
        "right, and to huggingface if the classes are those of the file"
    )
    return Listing(root, found.entries, (*found.remarks, remark))


def _read_classes(root: Path, wanted: Wanted) -> Listing:
    """List folders of classes, in folders of splits or to be divided."""
    left_out = Counter[str]()
    if wanted.is_pooled and not wanted.divided and has_train(root):
        read = present_entries
    else:
        read = undivided_entries if wanted.is_divided else folder_entries
    entries = read(root, wanted.splits, left_out)
    remarks = [left_out_text(left_out)] if left_out else []
    if (remark := inner_folders_remark(entries["train"])) is not None:
        remarks.append(remark)
    return Listing(root, entries, tuple(remarks))


def _recognized_container(source: DiskFiles | BucketFiles) -> str | None:
    """Return the format of the files that hold images; None where there are none, or images lie beside them."""
    found = {
        kind: name
        for kind, endings in _CONTAINERS.items()
        for name in (file.name for file in source.files)
        if name.lower().endswith(endings)
    }
    if not found or _has_metadata(source) or source.has_images():
        return None
    if len(found) > 1:
        got = " and ".join(f"{name} ({kind})" for kind, name in found.items())
        raise InvalidInput(
            f"{source.place}: data.format: auto needs files of one format, got {got}; set data.format to the one that "
            "is meant"
        )
    return next(iter(found))


def _has_metadata(source: DiskFiles | BucketFiles) -> bool:
    return any(PurePosixPath(file.name).name in METADATA for file in source.files)


def _check_root(root: Path) -> None:
    check_readable(root)
    if not root.exists():
        raise InvalidInput(f"{root}: data.root must be a folder, got nothing there; check the path: {LAYOUT}")
    if not root.is_dir() and not is_container(root):
        raise InvalidInput(f"{root}: data.root must be a folder, got a file; check the path: {LAYOUT}")

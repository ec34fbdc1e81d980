"""Files of a data set at their origin: on a disk, or in a bucket."""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from search_spaces.errors import InvalidInput, shown
from trainables.data.node_cache import Progress
from trainables.data.sources.folders import splits_named
from trainables.data.sources.image_walk import is_folder, is_image, is_litter, list_folder
from trainables.data.sources.node_copy import copied_once, inner_parts
from trainables.storage.bucket import CONNECTIONS, BucketObject, BucketPath

log = logging.getLogger(__name__)

_SECONDS = 10.0
"""Seconds between two lines of a log on files that are being fetched."""


class SourceFile(NamedTuple):
    """SourceFile: one file, and the values that tell it from another one of its name."""

    name: str
    """Relative to `data.root`, with forward slashes."""

    size: int
    """In bytes."""

    version: str
    """Times and inode on a disk, ETag in a bucket."""


@dataclass(frozen=True)
class DiskFiles:
    """DiskFiles: files in a folder, in its folder data/, and in folders of splits; or a single file."""

    place: Path
    """The folder, or the file."""

    @cached_property
    def files(self) -> list[SourceFile]:
        """The files, by name."""
        if not self.place.is_dir():
            return [_on_disk(self.place, self.place.name)]
        return sorted(self._below(self.place, ""))

    def path(self, file: SourceFile) -> Path:
        """Return where a file lies."""
        return self.place / file.name if self.place.is_dir() else self.place

    @contextmanager
    def local(self, file: SourceFile, scratch: Path) -> Iterator[Path]:
        """Give a file's path."""
        yield self.path(file)

    def has_images(self) -> bool:
        """Return whether an image lies below, at any depth."""
        to_list = [self.place] if self.place.is_dir() else []
        while to_list:
            for entry in list_folder(to_list.pop()):
                if is_folder(entry):
                    if not entry.is_symlink() and not entry.name.startswith("."):
                        to_list.append(Path(entry.path))
                elif is_image(entry.name):
                    return True
        return False

    def _below(self, folder: Path, inside: str) -> Iterator[SourceFile]:
        for entry in list_folder(folder):
            name = inside + entry.name
            if not is_folder(entry):
                if not entry.name.startswith(".") and Path(entry.path).is_file():
                    yield _on_disk(self.place / name, name)
            elif name == "data" or (inside in ("", "data/") and splits_named(entry.name)):
                yield from self._below(folder / entry.name, f"{name}/")


def _on_disk(path: Path, name: str) -> SourceFile:
    stat = path.stat()
    return SourceFile(name, stat.st_size, f"{stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}")


@dataclass(frozen=True)
class BucketFiles:
    """BucketFiles: objects below a path of a bucket."""

    place: BucketPath
    """The path."""

    @cached_property
    def files(self) -> list[SourceFile]:
        """All objects below, by name, without hidden ones and litter; raises InvalidInput where there are none."""
        found = [SourceFile(*each) for each in self.place.objects() if not _is_hidden(each.name)]
        if not found:
            raise InvalidInput(
                f"{self.place}: data.root must be a folder of a bucket with the images in it, got no objects there; "
                "check the bucket and the prefix"
            )
        return found

    @contextmanager
    def local(self, file: SourceFile, scratch: Path) -> Iterator[Path]:
        """Fetch a file into the folder `scratch` for the time of the block."""
        path = scratch / f".{uuid.uuid4().hex}"
        try:
            self.place.fetch(BucketObject(*file), path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def has_images(self) -> bool:
        """Return whether an image is among the objects."""
        return any(is_image(PurePosixPath(file.name).name) for file in self.files)

    def fetched(self, cache: Path, on_progress: Progress | None = None) -> Path:
        """Return the folder of this machine that holds all objects, which are fetched once and as they are now."""
        files = self.files

        def fill(folder: Path) -> None:
            targets = self._targets(folder)
            for place in {target.parent for target in targets}:
                place.mkdir(parents=True, exist_ok=True)
            pool, told = ThreadPoolExecutor(CONNECTIONS), time.monotonic()
            try:
                log.info("%s: fetching %d files into %s, once per node", self.place, len(files), cache)
                fetching = pool.map(self.place.fetch, (BucketObject(*file) for file in files), targets)
                for done, _ in enumerate(fetching, start=1):
                    if on_progress is not None:
                        on_progress(done, len(files))
                    if time.monotonic() > told + _SECONDS:
                        told = time.monotonic()
                        log.info("%s: %d of %d files fetched", self.place, done, len(files))
            finally:
                pool.shutdown(cancel_futures=True)

        folder, _ = copied_once(cache, self.place, ["objects", files], sum(file.size for file in files), fill)
        return folder

    def _targets(self, folder: Path) -> list[Path]:
        """Return the path of each object in a folder. Raises InvalidInput for two that cannot lie there together."""
        parts = [inner_parts(str(self.place), file.name) for file in self.files]
        folders = {each[:length] for each in parts for length in range(1, len(each))}
        doubled = sorted(each for each, count in Counter(parts).items() if count > 1 or each in folders)
        if doubled:
            raise InvalidInput(
                f"{self.place}: no two objects may be one file, or a file and its folder, got "
                f"{shown('/'.join(doubled[0]))} twice; remove one of them"
            )
        return [folder.joinpath(*each) for each in parts]


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or is_litter(part) for part in PurePosixPath(name).parts)

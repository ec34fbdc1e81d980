"""Inspection of each image of a data set: one decode per image, in processes on all cores.

Threads would take turns: half of the work holds the interpreter lock.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from search_spaces.errors import InvalidInput, ThawError
from search_spaces.user_files import IMAGE, read_user_file
from trainables.child_processes import IN_FLIGHT, map_in_processes, start_fork_server
from trainables.data.check.listing import ListedImage
from trainables.data.check.measures import Measures, measure_photo
from trainables.data.check.perceptual_hash import HASHED_SIDE
from trainables.data.decode import ImageFacts, decode_gray, decode_small

SKETCH = 48
"""Side of the small copy of an image from which the mean image of a class is made, in pixels."""

# A process starts in the time in which so many photos are inspected.
_HERE = 128
_CHUNK = 32
# A mean of more looks nearly the same, and each is decoded once more, in color.
_MOST_OF_CLASS, _MOST_SKETCHES = 50, 1_000
_CUT_OFF = ("truncated", "cut off", "broken data stream")


class Fault(NamedTuple):
    """Fault: reason why an image cannot be used."""

    kind: str
    """Key of `FINDING_KINDS`."""

    message: str


class Inspected(NamedTuple):
    """Inspected: one image of a data set, as its bytes are."""

    entry: ListedImage

    digest: bytes = b""
    """SHA-256 of its bytes; empty where they cannot be read."""

    size: int = 0
    """Number of its bytes."""

    fault: Fault | None = None
    """Reason why it cannot be used, None for an image that can."""

    facts: ImageFacts | None = None
    """Facts of the file; None with a fault."""

    measures: Measures | None = None
    """Measures of its pixels; None with a fault."""


class Sketches(NamedTuple):
    """Sketches: small copies of images of one class, added up."""

    total: npt.NDArray[np.uint32]
    """Their sum, (SKETCH, SKETCH, 3)."""

    images: int
    """Number of images."""


NO_SKETCHES = Sketches(np.zeros((SKETCH, SKETCH, 3), np.uint32), 0)
"""Sketches of a class before the first."""


class _Chunk(NamedTuple):
    """_Chunk: images that are inspected together."""

    root: Path
    entries: Sequence[ListedImage]
    sketched: frozenset[int]
    """Places in `entries` of the images that a sketch is made of."""

    max_pixels: int


def inspect_all(
    root: Path, entries: Sequence[ListedImage], max_pixels: int
) -> Iterator[tuple[Sequence[Inspected], Mapping[str, Sketches]]]:
    """Yield the images in chunks, as inspected, in order; with sketches of some of each class.

    The first are inspected here, while processes start that inspect the others. Raises ThawError where such a process
    dies.
    """
    sketched = _sketched(entries)
    cores = len(os.sched_getaffinity(0))
    size = max(1, min(_CHUNK, (len(entries) - _HERE) // (IN_FLIGHT * cores)))

    def chunks(begin: int, end: int) -> Iterator[_Chunk]:
        for start in range(begin, end, size):
            own = entries[start : min(start + size, end)]
            yield _Chunk(root, own, frozenset(n for n in range(len(own)) if start + n in sketched), max_pixels)

    is_large = len(entries) > _HERE
    if is_large:
        start_fork_server(__name__)
    yield from map(_inspect_some, chunks(0, min(_HERE, len(entries))))
    if is_large:
        done = _HERE
        try:
            for images, sketches in map_in_processes(_inspect_some, chunks(_HERE, len(entries)), cores):
                own = entries[done : done + len(images)]  # not the copies of another process, which take memory
                done += len(images)
                yield [image._replace(entry=entry) for image, entry in zip(images, own, strict=True)], sketches
        except BrokenProcessPool as error:
            last = min(done + IN_FLIGHT * cores * size, len(entries)) - 1
            raise ThawError(
                f"{root}: every image must be decoded in the memory that is free, got a process that died at one of "
                f"the images {entries[done].path} to {entries[last].path}; free memory, or take out the one that no "
                "decoder survives"
            ) from error


def _sketched(entries: Sequence[ListedImage]) -> frozenset[int]:
    """Return the places of the images that sketches are made of: some of each class, evenly spaced."""
    of_class: defaultdict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        of_class[entry.label].append(place)
    most = min(_MOST_OF_CLASS, _MOST_SKETCHES // len(of_class) + 1) if of_class else 0
    return frozenset(place for own in of_class.values() for place in own[:: -(-len(own) // most)])


def _inspect_some(chunk: _Chunk) -> tuple[list[Inspected], dict[str, Sketches]]:
    images: list[Inspected] = []
    sketches: dict[str, Sketches] = {}
    for place, entry in enumerate(chunk.entries):
        image, sketch = _inspect_one(chunk.root, entry, chunk.max_pixels, is_sketched=place in chunk.sketched)
        images.append(image)
        if sketch is not None:
            before = sketches.get(entry.label, NO_SKETCHES)
            sketches[entry.label] = Sketches(before.total + sketch, before.images + 1)
    return images, sketches


def _inspect_one(
    root: Path, entry: ListedImage, max_pixels: int, *, is_sketched: bool
) -> tuple[Inspected, npt.NDArray[np.uint8] | None]:
    """Read and decode one image; return it with a small copy (SKETCH, SKETCH, 3) where that is wanted."""
    try:
        data = read_user_file(root / entry.path, IMAGE)
    except OSError as error:
        kind = "no_access" if isinstance(error, PermissionError) else "unreadable"
        return Inspected(entry, fault=Fault(kind, error.strerror or str(error))), None
    except InvalidInput as error:  # no regular file, or a very large one
        return Inspected(entry, fault=Fault("unreadable", str(error))), None
    seen = Inspected(entry, hashlib.sha256(data).digest(), len(data))
    try:
        gray, facts = decode_gray(data, entry.path, HASHED_SIDE, max_pixels)
        sketch = _sketch(data, entry.path, max_pixels) if is_sketched else None
    except InvalidInput as error:
        return seen._replace(fault=_fault(error, data)), None
    return seen._replace(facts=facts, measures=measure_photo(gray)), sketch


def _sketch(data: bytes, path: str, max_pixels: int) -> npt.NDArray[np.uint8]:
    small = decode_small(data, path, SKETCH, max_pixels)
    return np.asarray(small.resize((SKETCH, SKETCH), Image.Resampling.NEAREST))  # a mean of many needs no filter


def _fault(error: InvalidInput, data: bytes) -> Fault:
    """Return the kind of fault that stopped the decoding, with Pillow's words."""
    cause = error.__cause__
    if not data:
        return Fault("no_image", "the file is empty")
    if isinstance(cause, UnidentifiedImageError):
        return Fault("no_image", "the bytes are those of no image format that is read")
    if isinstance(cause, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return Fault("too_large", str(cause))
    is_cut = any(word in str(cause).lower() for word in _CUT_OFF)
    return Fault("truncated" if is_cut else "unreadable", f"{type(cause).__name__}: {cause}")

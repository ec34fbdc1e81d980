"""Inspection of each image of a data set: one decode per image, on all cores."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from search_spaces.errors import InvalidInput
from trainables.data.check.listing import ListedImage
from trainables.data.check.measures import Measures, measure_photo
from trainables.data.check.perceptual_hash import HASHED_SIDE
from trainables.data.decode import ImageFacts, decode_with_facts

SKETCH = 48
"""Side of the small copy of an image from which the mean image of a class is made, in pixels."""

_CHUNK = 16
_CUT_OFF = ("truncated", "cut off", "broken data stream")


class Fault(NamedTuple):
    """Fault: reason why an image cannot be used."""

    kind: str
    """Key of `FINDING_KINDS`."""

    message: str


class Inspected(NamedTuple):
    """Inspected: one image of a data set, as its bytes are."""

    entry: ListedImage

    digest: str = ""
    """SHA-256 of its bytes; empty where they cannot be read."""

    size: int = 0
    """Number of its bytes."""

    fault: Fault | None = None
    """Reason why it cannot be used, None for an image that can."""

    facts: ImageFacts | None = None
    """Facts of the file; None with a fault."""

    measures: Measures | None = None
    """Measures of its pixels; None with a fault."""


Sketch = npt.NDArray[np.uint8]
ReadImage = Callable[[ListedImage], bytes]


def inspect_all(
    entries: Iterable[ListedImage], read: ReadImage, max_pixels: int, workers: int | None = None
) -> Iterator[tuple[Inspected, Sketch | None]]:
    """Yield each image as inspected, in order, with a small copy (SKETCH, SKETCH, 3) unless it has a fault.

    Pillow releases the interpreter lock while it decodes. No more images are held than the threads work on.
    """
    workers = workers or len(os.sched_getaffinity(0))
    look = partial(_inspect_some, read=read, max_pixels=max_pixels)
    remaining = iter(entries)
    chunks = iter(lambda: list(islice(remaining, _CHUNK)), [])
    with ThreadPoolExecutor(workers) as pool:
        coming = [pool.submit(look, chunk) for chunk in islice(chunks, 2 * workers)]
        try:
            while coming:
                done = coming.pop(0).result()
                coming += [pool.submit(look, chunk) for chunk in islice(chunks, 1)]
                yield from done
        finally:
            for future in coming:
                future.cancel()


def _inspect_some(
    entries: list[ListedImage], read: ReadImage, max_pixels: int
) -> list[tuple[Inspected, Sketch | None]]:
    return [inspect_one(entry, read, max_pixels) for entry in entries]


def inspect_one(entry: ListedImage, read: ReadImage, max_pixels: int) -> tuple[Inspected, Sketch | None]:
    """Read and decode one image."""
    try:
        data = read(entry)
    except OSError as error:
        kind = "no_access" if isinstance(error, PermissionError) else "unreadable"
        return Inspected(entry, fault=Fault(kind, error.strerror or str(error))), None
    except InvalidInput as error:  # no regular file, or a very large one
        return Inspected(entry, fault=Fault("unreadable", str(error))), None
    seen = Inspected(entry, hashlib.sha256(data).hexdigest(), len(data))
    try:
        image, facts = decode_with_facts(data, entry.path, max_pixels, HASHED_SIDE)
    except InvalidInput as error:
        return seen._replace(fault=_fault(error, data)), None
    sketch = np.asarray(image.resize((SKETCH, SKETCH), Image.Resampling.NEAREST))  # a mean of many needs no filter
    return seen._replace(facts=facts, measures=measure_photo(image)), sketch


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

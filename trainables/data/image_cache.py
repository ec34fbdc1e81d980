"""Decode once a node: the resized images of a split in one memory-mapped file, shared by every trial on the node."""

import contextlib
import errno
import itertools
import os
import shutil
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from search_spaces.errors import ThawError
from trainables.config import ResizeMode
from trainables.data.preprocess import PREPROCESSING_VERSION, load
from trainables.data.readers import Dataset, Sample

Images = npt.NDArray[np.uint8]


def open_images(
    dataset: Dataset,
    split: str,
    size: int,
    mode: ResizeMode,
    fingerprint: str,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Images:
    """The split's images in its order: uint8 (n, size, size, 3), memory-mapped and read-only.

    Built by the first process of the node that asks, while the others wait; a file that is not whole is built anew.
    `on_progress(done, total)` is called for each image decoded, so never where the file is there already.
    Raises InvalidInput naming an image that cannot be read, ThawError where the disk is full; neither leaves a file.
    """
    samples = dataset.splits[split]
    shape = (len(samples), size, size, 3)
    folder = Path(cache_dir) / "images"
    path = folder / f"{fingerprint}-{split}-{size}-{mode}-v{PREPROCESSING_VERSION}.npy"
    images = _open_whole(path, shape)
    if images is not None:
        return images
    needed = int(np.prod(shape, dtype=np.int64))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            images = _open_whole(path, shape)
            if images is None:
                _build(path, shape, needed, _decoded(dataset, samples, size, mode), on_progress)
                images = _open_whole(path, shape)
    except OSError as error:
        raise ThawError(_cannot_write(folder, needed, error)) from error
    if images is None:
        raise ThawError(f"{path}: the image cache must be whole after it is built, got a damaged file; check the disk")
    return images


def _open_whole(path: Path, shape: tuple[int, ...]) -> Images | None:
    """The mapped file, or None where there is none or it is not the whole array."""
    try:
        images: np.memmap[tuple[int, ...], np.dtype[np.uint8]] = np.lib.format.open_memmap(path, mode="r")
        whole = images.shape == shape and images.dtype == np.uint8 and images.flags.c_contiguous
        return images if whole and path.stat().st_size == images.offset + images.nbytes else None
    except (OSError, ValueError, EOFError):
        return None


def _build(
    path: Path,
    shape: tuple[int, ...],
    needed: int,
    images: Generator[Images, None, None],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    # The lock is ours, so the name may be fixed: what a killed builder left behind is overwritten, not collected.
    partial = path.with_name(path.name + ".partial")
    try:
        # Written in order and not through a map: a full disk is then an error and not a bus error.
        with contextlib.closing(images), partial.open("wb") as file:
            if shutil.disk_usage(path.parent).free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for done, image in enumerate(images, start=1):
                file.write(image.tobytes())
                if on_progress is not None:
                    on_progress(done, shape[0])
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _decoded(
    dataset: Dataset, samples: tuple[Sample, ...], size: int, mode: ResizeMode
) -> Generator[Images, None, None]:
    """The images in order, decoded by threads (Pillow releases the interpreter lock), a bounded number ahead."""

    def one(sample: Sample) -> Images:
        return load(dataset.read(sample), str(dataset.root / sample.path), size, mode)

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(samples), 16 * workers):
            yield from pool.map(one, itertools.islice(samples, start, start + 16 * workers))


def _cannot_write(folder: Path, needed: int, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{folder}: the image cache needs {needed} bytes ({needed / 2**20:.0f} MiB), got a full disk; "
            "free space there, or set storage.cache_dir to another disk"
        )
    return f"{folder}: the image cache must be writable, got {error}; set storage.cache_dir to a folder that is"

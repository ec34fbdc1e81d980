"""Fingerprint of the content of a data set: it keys the caches and stands in ledger, checkpoints and ONNX metadata."""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.errors import InvalidInput
from trainables.data.content_remarks import File, content_remarks
from trainables.data.decode import largest_of_sixteen_bits
from trainables.data.readers import Dataset, Sample

# A different rule for what is hashed needs a different number, or an old shortcut would answer for it.
_VERSION = 1


@dataclass(frozen=True)
class Content:
    """Content of a data set, from the bytes of its files."""

    fingerprint: str
    """SHA-256 (64 hex digits) over the sorted (path, split, class name, bytes) of the files."""

    remarks: tuple[str, ...]
    """Sentences about the bytes: equal ones under two labels or in two splits, values that will look black."""


def fingerprint(dataset: Dataset, cache_dir: Path) -> str:
    """Return the fingerprint of `examine_content`."""
    return examine_content(dataset, cache_dir).fingerprint


def examine_content(dataset: Dataset, cache_dir: Path) -> Content:
    """Read the files of a data set; return their fingerprint, and remarks on what they hold.

    Moving or copying the data set does not change the fingerprint; a changed, renamed, relabelled or reassigned image
    does. The bytes are read once: while paths, labels, sizes and modification times under the same root stay what they
    were, the answer is remembered in `cache_dir/fingerprints`. Raises InvalidInput where a file cannot be read.
    """
    shortcut = Path(cache_dir) / "fingerprints" / f"{_shortcut_key(dataset)}.json"
    known = _recall(shortcut)
    if known is not None:
        return known
    result = _read_content(dataset)
    # Only a shortcut: where it cannot be written, the next call reads the images again.
    with contextlib.suppress(OSError):
        _remember(
            shortcut,
            {
                "fingerprint": result.fingerprint,
                "root": str(dataset.root.resolve()),
                "remarks": list(result.remarks),
            },
        )
    return result


def _files(dataset: Dataset) -> Iterator[tuple[str, str, str, Sample]]:
    """(path, split, class name, sample) of every file, sorted."""
    return iter(
        sorted(
            (
                (sample.path, split, dataset.classes[sample.label], sample)
                for split, samples in dataset.splits.items()
                for sample in samples
            ),
            key=lambda file: file[:3],
        )
    )


def _read_content(dataset: Dataset) -> Content:
    def read(entry: tuple[str, str, str, Sample]) -> File:
        path, split, label, sample = entry
        data = dataset.read(sample)
        return File(path, split, label, hashlib.sha256(data).hexdigest(), largest_of_sixteen_bits(data))

    total, files = hashlib.sha256(), []
    # Reading and hashing both release the interpreter lock.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for file in pool.map(read, _files(dataset)):
            total.update(json.dumps([file.path, file.split, file.label, file.digest]).encode() + b"\n")
            files.append(file)
    return Content(total.hexdigest(), content_remarks(files))


def _shortcut_key(dataset: Dataset) -> str:
    # Labels and splits are part of it: a manifest can change them without touching an image.
    key = hashlib.sha256(json.dumps([_VERSION, str(dataset.root.resolve())]).encode())
    for path, split, label, _ in _files(dataset):
        try:
            stat = os.stat(f"{dataset.root}/{path}")  # noqa: PTH116  (a path object a file would take twice as long)
        except OSError as error:
            raise InvalidInput(
                f"{dataset.root / path}: every listed image must be a file, got {error.strerror}; restore it"
            ) from error
        key.update(json.dumps([path, split, label, stat.st_size, stat.st_mtime_ns]).encode() + b"\n")
    return key.hexdigest()


def _recall(shortcut: Path) -> Content | None:
    try:
        record = json.loads(shortcut.read_text())
        value, remarks = record["fingerprint"], record.get("remarks", [])  # an older version wrote none
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not (isinstance(value, str) and len(value) == 64 and isinstance(remarks, list)):
        return None
    return Content(value, tuple(map(str, remarks)))


def _remember(shortcut: Path, record: dict[str, Any]) -> None:
    shortcut.parent.mkdir(parents=True, exist_ok=True)
    # Opened as usual: other users of a shared cache read it, and a file of `tempfile` is private.
    temporary = shortcut.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(json.dumps(record))
        temporary.replace(shortcut)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

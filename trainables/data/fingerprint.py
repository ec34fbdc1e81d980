"""One name for the content of a data set: it keys the caches and stands in ledger, checkpoints and ONNX metadata."""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from search_spaces.errors import InvalidInput
from trainables.data.readers import Dataset, Sample

# A different rule for what is hashed needs a different number, or an old shortcut would answer for it.
_VERSION = 1


def fingerprint(dataset: Dataset, cache_dir: Path) -> str:
    """SHA-256 (64 hex digits) over the sorted (path, split, class name, bytes) of the data set's files.

    Moving or copying the data set does not change it; a changed, renamed, relabelled or reassigned image does. The
    bytes are read once: while paths, labels, sizes and modification times under the same root stay what they were, the
    answer is remembered in `cache_dir/fingerprints`. Raises InvalidInput where a file cannot be read.
    """
    shortcut = Path(cache_dir) / "fingerprints" / f"{_shortcut_key(dataset)}.json"
    known = _recall(shortcut)
    if known is not None:
        return known
    result = _content_hash(dataset)
    # Only a shortcut: where it cannot be written, the next call reads the images again.
    with contextlib.suppress(OSError):
        _remember(shortcut, {"fingerprint": result, "root": str(dataset.root.resolve())})
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


def _content_hash(dataset: Dataset) -> str:
    files = list(_files(dataset))
    total = hashlib.sha256()
    # Reading and hashing both release the interpreter lock.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        digests = pool.map(lambda file: hashlib.sha256(dataset.read(file[3])).hexdigest(), files)
        for (path, split, label, _), digest in zip(files, digests, strict=True):
            total.update(json.dumps([path, split, label, digest]).encode() + b"\n")
    return total.hexdigest()


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


def _recall(shortcut: Path) -> str | None:
    try:
        value = json.loads(shortcut.read_text())["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) and len(value) == 64 else None


def _remember(shortcut: Path, record: dict[str, str]) -> None:
    shortcut.parent.mkdir(parents=True, exist_ok=True)
    # Opened as usual: other users of a shared cache read it, and a file of `tempfile` is private.
    temporary = shortcut.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(json.dumps(record))
        temporary.replace(shortcut)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

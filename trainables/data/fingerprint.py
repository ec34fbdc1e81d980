"""Names for the content of a data set: what was trained on, what was measured on, and what the caches hold."""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from search_spaces.errors import InvalidInput
from trainables.data.readers import Dataset, Sample

# A different rule for what is hashed needs a different number, or an old shortcut would answer for it.
_VERSION = 2

_TRAINED = ("train", "val")


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints: SHA-256 (64 hex digits) over the sorted (path, split, class name, bytes) of files of a data set."""

    trained: str
    """Of train and val: decides whether a run may go on; stands in ledger, checkpoints and ONNX metadata."""

    measured: str | None
    """Of test, beside each test metric: two of them compare where it is equal. None without a test split."""

    stored: str
    """Of all splits: keys the caches. Runs of older versions hold it in place of `trained`."""

    def is_trained(self, known: str) -> bool:
        """Return whether a run or checkpoint of this or an older version, which holds `known`, had these images."""
        return known in (self.trained, self.stored)

    def of_split(self, split: str) -> str | None:
        """Return the fingerprint that says on what a split was measured."""
        return self.trained if split in _TRAINED else self.measured


def fingerprints(dataset: Dataset, cache_dir: Path) -> Fingerprints:
    """Return the fingerprints of a data set.

    Moving or copying the data set does not change them; a changed, renamed, relabelled or reassigned image does. The
    bytes are read once: while paths, labels, sizes and modification times under the same root stay what they were, the
    answer is remembered in `cache_dir/fingerprints`. Raises InvalidInput where a file cannot be read.
    """
    shortcut = Path(cache_dir) / "fingerprints" / f"{_shortcut_key(dataset)}.json"
    known = _recall(shortcut)
    if known is not None:
        return known
    result = _content_hashes(dataset)
    # Only a shortcut: where it cannot be written, the next call reads the images again.
    with contextlib.suppress(OSError):
        _remember(shortcut, {**asdict(result), "root": str(dataset.root.resolve())})
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


def _content_hashes(dataset: Dataset) -> Fingerprints:
    files = list(_files(dataset))
    stored, trained, measured = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    # Reading and hashing both release the interpreter lock.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        digests = pool.map(lambda file: hashlib.sha256(dataset.read(file[3])).hexdigest(), files)
        for (path, split, label, _), digest in zip(files, digests, strict=True):
            line = json.dumps([path, split, label, digest]).encode() + b"\n"
            stored.update(line)
            (trained if split in _TRAINED else measured).update(line)
    has_test = any(split not in _TRAINED for split in dataset.splits)
    return Fingerprints(trained.hexdigest(), measured.hexdigest() if has_test else None, stored.hexdigest())


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


def _recall(shortcut: Path) -> Fingerprints | None:
    try:
        record = json.loads(shortcut.read_text())
        values = [record[field.name] for field in fields(Fingerprints)]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    trained, measured, stored = values
    given = [trained, stored] + ([] if measured is None else [measured])
    is_whole = all(isinstance(value, str) and len(value) == 64 for value in given)
    return Fingerprints(trained, measured, stored) if is_whole else None


def _remember(shortcut: Path, record: Mapping[str, str | None]) -> None:
    shortcut.parent.mkdir(parents=True, exist_ok=True)
    # Opened as usual: other users of a shared cache read it, and a file of `tempfile` is private.
    temporary = shortcut.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(json.dumps(record))
        temporary.replace(shortcut)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

"""Names for the content of a data set: what was trained on, what was measured on, and what the caches hold."""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from PIL import __version__ as pillow_version

from search_spaces.errors import InvalidInput
from trainables.data.check.perceptual_hash import hash_of_file
from trainables.data.content_remarks import File, black_remark, equal_remark, near_remark, skipped_remark
from trainables.data.decode import decoding_fault, largest_of_sixteen_bits
from trainables.data.preprocess import PREPROCESSING_VERSION
from trainables.data.readers import Dataset, Sample
from trainables.data_config import DEFAULT_MAX_PIXELS

# A different rule for what is hashed needs a different number, or an old shortcut would answer for it.
_VERSION = 4

# Of the hash of each file, kept to notice a change: 64 bits, so that a million of them are read in two seconds.
_DIGITS = 16

_TRAINED = ("train", "val")


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints: SHA-256 (64 hex digits) over the sorted (path, split, class name, bytes) of files of a data set.

    Only images that are used count: one that is skipped can be removed, and the fingerprints stay the same.
    """

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


@dataclass(frozen=True)
class Content:
    """Content of a data set, from the bytes of its files."""

    dataset: Dataset
    """Images that are used, without those skipped; it refuses to read bytes that have changed since."""

    fingerprints: Fingerprints
    """Names of the content."""

    remarks: tuple[str, ...]
    """Sentences about the bytes: images skipped, equal or alike in two splits or under two labels, or almost black."""

    duplicates: str | None = None
    """Remark on equal bytes; None without any."""

    near: str | None = None
    """Remark on near-duplicates in two splits; None without any."""


def examine_content(
    dataset: Dataset,
    cache_dir: Path,
    on_bad_image: Literal["fail", "skip"] = "fail",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    on_progress: Callable[[int, int], None] | None = None,
) -> Content:
    """Read the files of a data set; return their fingerprints, and remarks on what they hold.

    With skip each image is decoded, to at most `max_pixels`, and one that cannot be decoded is left out;
    `on_progress(done, total)` is called for each. With fail none is decoded here.
    Moving or copying the data set does not change the fingerprints; a changed, renamed, relabeled or reassigned image
    does. The bytes are read once: while paths, labels, sizes, times and inodes under the same root stay what they
    were, the answer is remembered in `cache_dir/fingerprints`. Raises InvalidInput where a file cannot be read, and
    where all images of a class in a split are skipped.
    """
    # Another version may decode what this one cannot.
    rule = [max_pixels, PREPROCESSING_VERSION, pillow_version] if on_bad_image == "skip" else []
    if dataset.undivided is not None:  # two divisions may differ only once equal files are known, and bad ones skipped
        rule += [*dataset.undivided.rule, sorted(dataset.undivided.marks.items())]
    shortcut = Path(cache_dir) / "fingerprints" / f"{_shortcut_key(dataset, rule)}.json"
    known = _recall(shortcut, dataset)
    if known is not None:
        return known
    result = _read_content(dataset, max_pixels if on_bad_image == "skip" else None, on_progress)
    # Only a shortcut: where it cannot be written, the next call reads the images again.
    with contextlib.suppress(OSError):
        read = {name: getattr(result.dataset, name) for name in ("digests", "skipped", "hashes")}
        said = {name: getattr(result, name) for name in ("remarks", "duplicates", "near")}
        if dataset.undivided is not None:  # of many images, to compare all of them takes longer than to read the rest
            read["division"] = {split: [s.path for s in own] for split, own in result.dataset.splits.items()}
            read["folds"] = result.dataset.fold_of
        found = {"root": str(dataset.root.resolve()), **read, **said}
        _remember(shortcut, {**asdict(result.fingerprints), **found})
    return result


def _files(dataset: Dataset) -> Iterator[tuple[str, str, str, Sample]]:
    """(path, split, class name, sample) of every file, sorted."""
    return iter(
        sorted(
            (
                (sample.path, split, dataset.classes[sample.label], sample)
                for split, samples in dataset.distinct_splits.items()
                for sample in samples
            ),
            key=lambda file: file[:3],
        )
    )


def _read_content(dataset: Dataset, decoded_to: int | None, on_progress: Callable[[int, int], None] | None) -> Content:
    """Read all files, and decode them to at most `decoded_to` pixels unless that is None."""

    def read(entry: tuple[str, str, str, Sample]) -> tuple[File, str | None]:
        path, split, label, sample = entry
        data = dataset.read(sample)
        digest = hashlib.sha256(data).hexdigest()
        file = File(path, split, label, digest, largest_of_sixteen_bits(data), hash_of_file(data))
        return file, None if decoded_to is None else decoding_fault(data, path, decoded_to)

    known: dict[str, File] = {}
    skipped: dict[str, dict[str, str]] = {}
    total = sum(map(len, dataset.distinct_splits.values()))
    # Reading, hashing and decoding release the interpreter lock.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done, (file, fault) in enumerate(pool.map(read, _files(dataset)), start=1):
            if decoded_to is not None and on_progress is not None:
                on_progress(done, total)
            if fault is not None:
                skipped.setdefault(file.split, {})[file.path] = fault
            else:
                known[file.path] = file
    digests = {path: file.digest[:_DIGITS] for path, file in known.items()}
    hashes = {path: file.hash for path, file in known.items() if file.hash is not None}
    used = dataset.examined(digests, skipped, hashes)
    # Of images that are divided, others may be in another split by now.
    files = [known[path]._replace(split=split, label=label) for path, split, label, _ in _files(used)]
    duplicates, near = equal_remark(files), near_remark(files)
    remarks = filter(None, [skipped_remark(skipped), duplicates, near, black_remark(files)])
    return Content(used, _fingerprints(files), tuple(remarks), duplicates, near)


def _fingerprints(files: Sequence[File]) -> Fingerprints:
    """Return the fingerprints of files in the order of their paths."""
    stored, trained, measured = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    for file in files:
        line = json.dumps([file.path, file.split, file.label, file.digest]).encode() + b"\n"
        stored.update(line)
        (trained if file.split in _TRAINED else measured).update(line)
    has_test = any(file.split not in _TRAINED for file in files)
    return Fingerprints(trained.hexdigest(), measured.hexdigest() if has_test else None, stored.hexdigest())


def _shortcut_key(dataset: Dataset, rule: list[Any]) -> str:
    # Labels and splits are part of it: a manifest can change them without touching an image.
    key = hashlib.sha256(json.dumps([_VERSION, str(dataset.root.resolve()), *rule]).encode())
    for path, split, label, _ in _files(dataset):
        try:
            stat = os.stat(f"{dataset.root}/{path}")  # noqa: PTH116  (a path object a file would take twice as long)
        except OSError as error:
            raise InvalidInput(
                f"{dataset.named(path)}: every listed image must be a file, got {error.strerror}; {dataset.restoring}"
            ) from error
        # An archive gives equal times to all its files, and two of equal size can change places: the inode tells them.
        own = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        key.update(json.dumps([path, split, label, *own]).encode() + b"\n")
    return key.hexdigest()


def _recall(shortcut: Path, dataset: Dataset) -> Content | None:
    try:
        record = json.loads(shortcut.read_text())
        trained, measured, stored = (record[field.name] for field in fields(Fingerprints))
        hashes = {path: int(number) for path, number in record["hashes"].items()}
        if dataset.undivided is None:
            used = dataset.examined(dict(record["digests"]), record["skipped"], hashes)
        else:
            divided = _as_divided(dataset, record["division"], record["folds"])
            used = replace(divided, digests=dict(record["digests"]), hashes=hashes, skipped=record["skipped"])
        remarks, duplicates, near = tuple(map(str, record["remarks"])), record["duplicates"], record["near"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    given = [trained, stored] + ([] if measured is None else [measured])
    is_whole = all(isinstance(value, str) and len(value) == 64 for value in given)
    return Content(used, Fingerprints(trained, measured, stored), remarks, duplicates, near) if is_whole else None


def _as_divided(dataset: Dataset, division: Mapping[str, Sequence[str]], folds: Sequence[int]) -> Dataset:
    """Return the data set with the paths of each split, and the folds, that were remembered."""
    samples = {sample.path: sample for own in dataset.splits.values() for sample in own}
    splits = {split: tuple(samples[path] for path in paths) for split, paths in division.items()}
    return replace(dataset, splits=splits, fold_of=tuple(folds))


def _remember(shortcut: Path, record: Mapping[str, Any]) -> None:
    shortcut.parent.mkdir(parents=True, exist_ok=True)
    # Opened as usual: other users of a shared cache read it, and a file of `tempfile` is private.
    temporary = shortcut.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(json.dumps(record))
        temporary.replace(shortcut)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

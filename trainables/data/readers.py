"""Listing of a data set: the images of each split and class. It lists files and reads bytes, and decodes nothing.

A reader is a function from what the user has to entries: for each split its (path, class name) pairs. There is one per
`data.format`, see `sources/formats.py`; what must hold of every data set is checked once, for all, in `_dataset`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces.errors import InvalidInput
from search_spaces.permissions import missing_permission
from search_spaces.user_files import IMAGE, read_user_file
from trainables.data.node_cache import Progress
from trainables.data.sources.bucket_file import use_cache
from trainables.data.sources.class_names import alike_names, check_names, rename_remedy
from trainables.data.sources.folders import folder_entries, names_splits, undivided_entries
from trainables.data.sources.formats import Wanted, read_images, recognized_splits
from trainables.data.sources.image_walk import IMAGE_ENDINGS
from trainables.data.sources.listing import Entries, Origin
from trainables.data.sources.manifest import manifest_marks
from trainables.data.sources.source_files import BucketFiles
from trainables.data.split.folds import pooled
from trainables.data.split.groups import marks_in_names
from trainables.data.split.undivided import Divided, Undivided
from trainables.data_config import DataConfig, DataFormat, SplitShares, TrainedOn
from trainables.storage.bucket import BucketPath
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place

SPLITS = ("train", "val", "test")

# So many classes are named in a remark.
_NAMED = 5


@dataclass(frozen=True)
class Sample:
    """One image of a data set."""

    path: str
    """Relative to the root, with forward slashes."""

    label: int
    """Index into the data set's classes."""


@dataclass(frozen=True)
class Dataset:
    """A listed data set: two classes or more, each with images in train; no split is empty."""

    root: Path
    """The folder that the samples' paths are relative to."""

    classes: tuple[str, ...]
    """Class names, sorted; a label is an index into them."""

    splits: Mapping[str, tuple[Sample, ...]]
    """train, val and, where there is one, test; each sorted by path."""

    remarks: tuple[str, ...] = field(default=(), compare=False)
    """Sentences about what the user may not know: files left out, classes without images, names that look alike."""

    digests: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Begin of the SHA-256 (hex digits) of the bytes of each file by its path, once they have been examined."""

    hashes: Mapping[str, int] = field(default_factory=dict, compare=False)
    """Perceptual hash of each image by its path, once they have been examined, where it can be decoded."""

    skipped: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False)
    """Images left out because they cannot be decoded: their errors by path, by split."""

    undivided: Undivided | None = field(default=None, compare=False)
    """The same images before their division; None where they were in splits already."""

    origin: Origin | None = field(default=None, compare=False)
    """Place that the files were copied from; None where they lie at `data.root`."""

    has_val_in_train: bool = False
    """True where train also holds the images of val."""

    @property
    def place(self) -> Place:
        """Folder, file or path of a bucket that the user knows the data set by."""
        return self.root if self.origin is None else self.origin.place

    def named(self, path: str) -> str:
        """Return the name of an image in messages, by its path."""
        return str(self.root / path) if self.origin is None else f"{self.origin.place}/{path}"

    @property
    def restoring(self) -> str:
        """Remedy for a file that is missing."""
        return "restore it" if self.origin is None else f"remove the copy {self.root.parent}, which is then made anew"

    fold_of: tuple[int, ...] = ()
    """Fold of each image of train, which are those of val too; empty without `data.folds`."""

    @property
    def folds(self) -> int:
        """Number of folds that are held out in turn; 0 without folds, and where all images are trained on."""
        return 0 if self.has_val_in_train or not self.fold_of else max(self.fold_of) + 1

    def fold_rows(self, fold: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the positions in train of the images outside of a fold, and of those in it."""
        held_out = np.array(self.fold_of) == fold
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def of_fold(self, fold: int) -> "Dataset":
        """Return the data set whose val is a fold, and whose train the others."""
        pool = self.splits["train"]
        train, val = (tuple(pool[row] for row in rows) for rows in self.fold_rows(fold))
        return replace(self, splits={**self.splits, "train": train, "val": val}, undivided=None, fold_of=())

    @property
    def counts_text(self) -> str:
        """Number of images of each split as text; with folds, of all images that are trained on."""
        named = {"train": f"in {self.folds} folds"} if self.folds else {}
        return ", ".join(f"{len(samples)} {named.get(split, split)}" for split, samples in self.distinct_splits.items())

    @property
    def distinct_splits(self) -> Mapping[str, tuple[Sample, ...]]:
        """Splits without one whose images are exactly those of another: with folds, val."""
        return {split: samples for split, samples in self.splits.items() if split != "val" or not self.fold_of}

    def read(self, sample: Sample) -> bytes:
        """Read the bytes of the sample's file; raises InvalidInput where it cannot be read, or has changed since."""
        path = self.root / sample.path
        try:
            data = read_user_file(path, IMAGE)
        except PermissionError as error:
            raise InvalidInput(missing_permission(path)) from error
        except OSError as error:
            raise InvalidInput(
                f"{self.named(sample.path)}: every listed image must be readable, got {error.strerror or error}; "
                f"{self.restoring}, or take it out of the data set"
            ) from error
        known = self.digests.get(sample.path)
        if known is not None and not hashlib.sha256(data).hexdigest().startswith(known):
            raise InvalidInput(
                f"{self.named(sample.path)}: every image must stay as it was when the data set was examined, got other "
                "bytes; begin again when no program writes to it"
            )
        return data

    def examined(
        self, digests: Mapping[str, str], skipped: Mapping[str, Mapping[str, str]], hashes: Mapping[str, int]
    ) -> "Dataset":
        """Return the data set with the digests and hashes of its files, and without the images skipped, given by split
        and path with their errors.

        Images that Thaw divides are divided anew: those of a group together, and as if those skipped had never been
        there, so the division stays when they are removed. Raises InvalidInput where a class of a split keeps no image.
        """
        listed = self.undivided.entries if self.undivided is not None else self._entries()
        errors = {path: error for found in skipped.values() for path, error in found.items()}
        kept = {split: [pair for pair in pairs if pair[0] not in errors] for split, pairs in listed.items()}
        for split, pairs in listed.items():
            emptied = {label for _, label in pairs} - {label for _, label in kept[split]}
            if emptied and split in self.splits:
                first = next(errors[path] for path, label in pairs if label in emptied)
                raise InvalidInput(
                    f"{self.place}: every class of {split} must keep an image with `data.on_bad_image: skip`, got none "
                    f"that can be decoded in {', '.join(sorted(emptied))}; the first: {first}"
                )
        found = self
        if self.undivided is not None:
            divided = self._divided(self.undivided, kept, digests, hashes, errors)
            found = divided.with_val_in_train() if self.has_val_in_train else divided
        splits = {
            split: tuple(sample for sample in samples if sample.path not in skipped.get(split, ()))
            for split, samples in found.splits.items()
        }
        examined = replace(self, splits=splits, skipped=skipped, digests=dict(digests), hashes=dict(hashes))
        return replace(examined, fold_of=found.fold_of)

    def _entries(self) -> Entries:
        return {
            split: [(sample.path, self.classes[sample.label]) for sample in samples]
            for split, samples in self.splits.items()
        }

    def _divided(
        self,
        undivided: Undivided,
        kept: Entries,
        digests: Mapping[str, str],
        hashes: Mapping[str, int],
        errors: Mapping[str, str],
    ) -> "Dataset":
        try:
            divided = undivided.divided(kept, digests, hashes)
        except InvalidInput as error:
            if not errors:
                raise
            names = f"{', '.join(list(errors)[:_NAMED])}{', ...' if len(errors) > _NAMED else ''}"
            raise InvalidInput(f"{error}. Left out, since they cannot be decoded: {names}") from error
        return replace(_dataset(self.root, undivided.where, divided, self.splits, ()), origin=self.origin)

    def with_val_in_train(self) -> "Dataset":
        """Return the data set whose train also holds the images of val, which stays as it is."""
        if self.fold_of:
            return replace(self, has_val_in_train=True)
        train = sorted((*self.splits["train"], *self.splits["val"]), key=lambda sample: sample.path)
        return replace(self, splits={**self.splits, "train": tuple(train)}, has_val_in_train=True)

    def labels(self, split: str) -> npt.NDArray[np.int64]:
        """Labels of a split, shape (n,), in the split's order."""
        return np.array([sample.label for sample in self.splits[split]], dtype=np.int64)

    def lacks_classes(self, split: str) -> bool:
        """Return whether a class of train has no image in a split."""
        return len({sample.label for sample in self.splits[split]}) < len(self.classes)


def open_configured(data: DataConfig, cache: Path, on_progress: Progress | None = None) -> Dataset:
    """List the data set of a trial's settings; raises InvalidInput for what cannot be trained on.

    What lies in a bucket, or within other files, is copied below `cache`, once per node; see `read_images`.
    """
    use_cache(data, cache)
    dataset = open_dataset(
        *(data.root, data.manifest, data.splits, data.split, data.folds),
        format=data.format,
        cache=cache,
        on_progress=on_progress,
    )
    return dataset.with_val_in_train() if data.train_on is TrainedOn.TRAIN_AND_VAL else dataset


def usual_settings(root: Place, cache: Path) -> dict[str, Any]:
    """Return the settings of `data` that photos need: `split` where they have to be divided, and `test: none` where
    those of test are in no class.

    Images of a bucket are copied below `cache`. Raises InvalidInput, as `open_dataset` does, where there are no
    settings with which the photos could be used.
    """
    if (found := recognized_splits(root)) is not None:
        return {} if "val" in found else {"split": division(has_test="test" in found)}
    if isinstance(root, BucketPath):
        root = BucketFiles(root).fetched(cache)
    usable: tuple[tuple[Sequence[str], dict[str, Any]], ...] = ((SPLITS, {}), (SPLITS[:2], {"test": "none"}))
    refusals: list[InvalidInput] = []
    for splits, more in usable:
        try:
            folder_entries(root, splits, Counter())
        except InvalidInput as error:
            refusals.append(error)
        else:
            return more
    for splits, more in usable:
        try:
            entries = undivided_entries(root, splits, Counter())
        except InvalidInput as error:
            refusals.append(error)
        else:
            return {"split": division(has_test="test" in entries or bool(more)), **more}
    raise refusals[0 if names_splits(root) else len(usable)]


def division(*, has_test: bool) -> dict[str, Any]:
    """Return the usual setting `data.split`, of images with a test split or without one.

    Which of them stay together is left to the reader of the file.
    """
    shares = SplitShares(val=0.15, test=0.0 if has_test else 0.15)
    return shares.model_dump(exclude={"together", "group_by"})


def open_dataset(
    root: Place,
    manifest: Place | None = None,
    splits: Sequence[str] = SPLITS,
    shares: SplitShares | None = None,
    folds: int | None = None,
    *,
    anew: bool = False,
    format: DataFormat = "auto",
    cache: Path | None = None,
    on_progress: Progress | None = None,
) -> Dataset:
    """List the data set at `root`, in its format, or from a CSV `manifest` with the columns path, label, split.

    Folders: `train/ val/ test/` with one folder per class; `valid` and `validation` stand for val, test is optional.
    Dotfiles and files without an image ending are left out; images in deeper folders count for their class.
    Manifest: paths are relative to `root`, any ending is taken. `splits` are those that are used, where they exist.
    With `shares` the images are not split, or lack val: see `divide`. With `folds` they are split or not; train and val
    are joined, and divided into so many folds: see `divide_into_folds`. With `shares` and `anew` the images of all
    splits are divided.
    Copies of a bucket or of containers lie below `cache`, or the usual cache folder; `on_progress(done, total)` is
    called for each file that is fetched or unpacked. Raises InvalidInput for what cannot be trained on, StorageFailed
    where a bucket or the cache cannot be used.
    """
    where = str(manifest or root)
    group_by = None if shares is None else shares.group_by
    wanted = Wanted(splits, shares is not None, manifest, format, group_by, is_pooled=folds is not None)
    listing = read_images(root, wanted, cache or cache_folder(None), on_progress)
    entries = listing.entries if folds is None else pooled(listing.entries)
    remarks = [*listing.remarks]
    if anew:
        remarks += [f"the images of {', '.join(entries)} are divided anew"] if len(entries) > 1 else []
        entries = {"train": [pair for pairs in entries.values() for pair in pairs]}
    undivided, divided = None, Divided(dict(entries), {})
    if (shares is not None or folds is not None) and entries.get("train"):
        marks = _marks(listing.root, manifest, where, entries["train"], group_by)
        undivided = Undivided(where, entries, shares, folds, marks)
        divided = undivided.divided(entries)
    found = _dataset(listing.root, where, divided, splits, remarks)
    return replace(found, undivided=undivided, origin=listing.origin)


def _marks(
    root: Path, manifest: Place | None, where: str, pairs: Sequence[tuple[str, str]], group_by: str | None
) -> Mapping[str, str]:
    """Return what `group_by` says of each image by its path; nothing without it."""
    if group_by is None:
        return {}
    found = manifest_marks(root, manifest, group_by) if manifest is not None else None
    return found if found is not None else marks_in_names(where, [path for path, _ in pairs], group_by)


def _dataset(root: Path, where: str, divided: Divided, used: Iterable[str], remarks: Sequence[str]) -> Dataset:
    """Return the data set of the `used` splits, where there are such."""
    entries = {split: divided.entries[split] for split in used if split in divided.entries}
    for split in ("train", "val"):
        if not entries.get(split):
            raise InvalidInput(
                f"{where}: split {split} must hold images, got none; add some ({', '.join(IMAGE_ENDINGS)})"
            )
    classes = tuple(sorted({label for _, label in entries["train"]}))
    if len(classes) < 2:
        raise InvalidInput(f"{where}: a data set needs at least two classes, got one ({classes[0]}); add another class")
    check_names(where, classes, (path for pairs in entries.values() for path, _ in pairs))
    labels = {name: label for label, name in enumerate(classes)}
    for split, pairs in entries.items():
        unknown = sorted({name for _, name in pairs} - labels.keys())
        if unknown:
            raise InvalidInput(
                f"{where}: every class of {split} must also be in train, got {', '.join(unknown)}; "
                f"{rename_remedy(unknown[0], classes)}"
            )
    # Sorted by path alone: the order is then a function of what the fingerprint covers.
    splits = {
        split: tuple(Sample(path, labels[name]) for path, name in sorted(entries[split]))
        for split in SPLITS
        if split in entries
    }
    found = (*remarks, *_without_images(entries, classes), *alike_names(classes))
    fold_of = tuple(divided.folds[sample.path] for sample in splits["train"]) if divided.folds else ()
    return Dataset(root, classes, splits, tuple(f"{where}: {remark}" for remark in found), fold_of=fold_of)


def _without_images(entries: Entries, classes: Sequence[str]) -> Iterator[str]:
    """Yield a remark for each of val and test that lacks classes of train."""
    for split in ("val", "test"):
        there = {name for _, name in entries.get(split, ())}
        lacking = [name for name in classes if name not in there]
        if there and lacking:
            more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
            yield (
                f"{split} has no image of {', '.join(lacking[:_NAMED])}{more}: its figures say nothing about "
                f"{'them' if len(lacking) > 1 else 'it'}, and macro-F1 counts each as 0; add images to {split}"
            )

"""Files that say how a data set is divided: a manifest, or folders of links or copies."""

import csv
import os
import re
import shutil
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from search_spaces.errors import InvalidInput, shown
from trainables.data.readers import Dataset, open_dataset


def check_new(out: Path) -> None:
    """Raise InvalidInput where `out` exists already."""
    if os.path.lexists(out):
        raise InvalidInput(f"--out: must not exist yet, but {out} does; choose another name, or remove it")


def leftovers(out: Path) -> list[Path]:
    """Return what processes that were killed, or that still write, have of `out` beside it."""
    name = re.compile(rf"\.{re.escape(out.stem)}-[0-9a-f]{{8}}{re.escape(out.suffix)}")
    return sorted(path for path in out.parent.glob(".*") if name.fullmatch(path.name))


def write_manifest(dataset: Dataset, out: Path) -> None:
    """Write the file with the columns path, label, split, sorted by path; whole, or not at all.

    A name that ends in .tsv gets tabs between the columns, any other commas.

    Raises InvalidInput where reading it would give other splits, as for a path that begins with a space.
    """
    rows = sorted(
        (sample.path, dataset.classes[sample.label], split)
        for split, samples in dataset.splits.items()
        for sample in samples
    )
    with _complete(out) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if out.suffix.lower() == ".tsv" else ",", lineterminator="\n")
            writer.writerow(("path", "label", "split"))
            writer.writerows(rows)
        if open_dataset(dataset.root, temporary).splits != dataset.splits:
            raise InvalidInput(f"--out: a manifest must be read as it is written, but {out} is not; rename the files")


def write_folder(dataset: Dataset, out: Path, *, copy: bool) -> None:
    """Write `train/ val/ test/` with one folder per class: relative links to the images, or copies; whole, or not.

    A file keeps its name, unless several of its class have it: then its folders are part of the name. Raises
    InvalidInput where reading the folder would give other images, as for a file without the ending of an image.
    """
    with _complete(out) as temporary:
        for name in dataset.classes:
            if PurePosixPath(name).name != name or name == "..":
                raise InvalidInput(
                    f"--out: a class must have the name of a folder, got {shown(name)}; write a manifest, --out X.csv"
                )
            for split in dataset.splits:
                (temporary / split / name).mkdir(parents=True)
        names = _names(dataset)
        for split, samples in dataset.splits.items():
            for sample in samples:
                source = (dataset.root / sample.path).resolve()
                target = temporary / split / dataset.classes[sample.label] / names[sample.path]
                if copy:
                    shutil.copy2(source, target)
                else:
                    target.symlink_to(os.path.relpath(source, target.parent.resolve()))
        if not _reads_as(dataset, temporary):
            raise InvalidInput(
                f"--out: folders must be read as they are written, but those of {out} are not: some files have no "
                "usual ending, or begin with a dot; write a manifest, --out X.csv"
            )


def _names(dataset: Dataset) -> dict[str, str]:
    """Return the name of each image in the folder of its class and split, by its path."""
    samples = [sample for found in dataset.splits.values() for sample in found]

    def plain(label: int, name: str) -> tuple[int, str]:
        return label, unicodedata.normalize("NFC", name).casefold()

    own = {sample.path: PurePosixPath(sample.path).name for sample in samples}
    counts = Counter(plain(sample.label, own[sample.path]) for sample in samples)
    names = {
        sample.path: own[sample.path]
        if counts[plain(sample.label, own[sample.path])] == 1
        else sample.path.replace("/", "_")
        for sample in samples
    }
    again = Counter(plain(sample.label, names[sample.path]) for sample in samples)
    for sample in samples:
        if again[plain(sample.label, names[sample.path])] > 1:
            raise InvalidInput(
                f"--out: each file of a class must have a name of its own, got {names[sample.path]} twice; rename "
                f"{sample.path}, or write a manifest, --out X.csv"
            )
    return names


def _reads_as(dataset: Dataset, folder: Path) -> bool:
    """Return whether a folder is read with as many images per class and split as the data set has."""
    try:
        return _counts(open_dataset(folder)) == _counts(dataset)
    except InvalidInput:  # such as a class without an image that is read
        return False


def _counts(dataset: Dataset) -> dict[str, Counter[str]]:
    return {
        split: Counter(dataset.classes[sample.label] for sample in samples) for split, samples in dataset.splits.items()
    }


@contextmanager
def _complete(out: Path) -> Iterator[Path]:
    """Yield a path beside `out` that becomes it at the end of the block, and is removed where the block fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.stem}-{uuid.uuid4().hex[:8]}{out.suffix}")
    try:
        yield temporary
        temporary.rename(out)
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
        raise

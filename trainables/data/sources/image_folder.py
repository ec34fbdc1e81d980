"""Image folder of Hugging Face: `metadata.csv` or `metadata.jsonl` beside the images.

Hugging Face Datasets, "Create an image dataset", ImageFolder: the column `file_name` is relative to the folder of the
metadata, which stands once at the top or once in each split's folder.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from search_spaces.errors import InvalidInput, shown
from search_spaces.permissions import check_readable
from search_spaces.user_files import MANIFEST, read_user_file
from trainables.data.sources.class_names import class_text
from trainables.data.sources.folders import left_out_text, splits_named
from trainables.data.sources.image_walk import images_below, is_folder, list_folder
from trainables.data.sources.listing import Listing
from trainables.data.sources.manifest import NO_LABELS, check_files, manifest_path, row_entries
from trainables.data.sources.manifest_table import ManifestRow, read_table, usual_words

METADATA = ("metadata.csv", "metadata.jsonl")
_FILE = "file_name"
_SPLITS = ("train", "val", "test")


def metadata_files(root: Path) -> list[Path]:
    """Return the metadata at the top of a folder, or else those in its folders of splits, by name."""
    at_top = [root / name for name in METADATA if (root / name).is_file()]
    if at_top:
        return at_top
    folders = [root / entry.name for entry in list_folder(root) if is_folder(entry) and splits_named(entry.name)]
    return [folder / name for folder in folders for name in METADATA if (folder / name).is_file()]


def read_image_folder(root: Path, used: Sequence[str], *, divided: bool) -> Listing:
    """List the images that the metadata name, with their classes.

    Their split is that of the folder of the metadata, or else of a column split, or else of the first folder of each
    `file_name`. Without any the images must be `divided`. Raises InvalidInput.
    """
    files = metadata_files(root)
    if not files:
        raise InvalidInput(
            f"{root}: format huggingface needs {' or '.join(METADATA)} beside the images, at the top or in each "
            "split's folder, got none; write one with the columns file_name and label, or set data.format: auto"
        )
    entries: dict[str, list[tuple[str, str]]] = {}
    named: set[str] = set()
    for folder in {file.parent: None for file in files}:
        here = [file for file in files if file.parent == folder]
        if len(here) > 1:
            raise InvalidInput(f"{folder}: metadata must be one file, got {' and '.join(METADATA)}; remove one of them")
        rows = list(_rows(root, here[0], divided=divided))
        named.update(PurePosixPath(row.path).as_posix() for row in rows)
        for split, pairs in row_entries(root, here[0], rows, _SPLITS, used).items():
            entries.setdefault(split, []).extend(pairs)
    check_files(root, files[0], [path for pairs in entries.values() for path, _ in pairs])
    unnamed = sum(path not in named for path in images_below(root, Counter()))
    left_out = left_out_text(Counter({f"images that are not in {files[0].name}": unnamed}))
    return Listing(root, entries, (left_out,) if unnamed else ())


def _rows(root: Path, file: Path, *, divided: bool) -> Iterator[ManifestRow]:
    header: list[str]
    rows: Sequence[tuple[int, Sequence[Any]]]
    header, rows = _json_lines(file) if file.suffix == ".jsonl" else read_table(file)
    if not rows:
        raise InvalidInput(f"{file}: metadata must list images, got no rows; add one row per image")
    name, label = _name_column(file, header), _label_column(file, header)
    assigned = usual_words("split", header)
    if len(assigned) > 1:
        raise InvalidInput(
            f"{file}: column split must be one, got {' and '.join(header[place] for place in assigned)}; remove one"
        )
    paths = [_path(file, line, row[name]) for line, row in rows]
    inside = "" if file.parent == root else f"{file.parent.name}/"
    splits = [
        _split(inside, path, _field(row[assigned[0]]) if assigned and not inside else None)
        for path, (_, row) in zip(paths, rows, strict=True)
    ]
    if not any(splits) and not assigned:
        if not divided:
            raise InvalidInput(
                f"{file}: every image must be in a split, got neither a column split nor a file_name like "
                f"train/{paths[0]}; add the column, or set `data.split: {{val: 0.15}}`, which divides them"
            )
        splits = ["train"] * len(rows)
    for (line, row), path, split in zip(rows, paths, splits, strict=True):
        yield ManifestRow(line, inside + path, _label(file, line, row[label]), split or "")


def _path(file: Path, line: int, value: Any) -> str:
    """Return the path of an image as seen from the folder of the metadata, within which it must lie."""
    if not isinstance(value, str):
        raise InvalidInput(
            f"{file}:{line}: {_FILE} must be a text, the path of an image, got {shown(value)}; write it as seen from "
            f"{file.parent}"
        )
    return manifest_path(file.parent, file, ManifestRow(line, value.strip(), "", ""))


def _label(file: Path, line: int, value: Any) -> str:
    """Return the class of an image; empty where there is none, which matters for a split that is used alone."""
    text = _field(value)
    return text if text.lower() in NO_LABELS else class_text(f"{file}:{line}: label", value)


def _split(inside: str, name: str, assigned: str | None) -> str | None:
    """Return the split of an image: by the folder of its metadata, its column, or its first folder; None without."""
    if assigned is not None:
        return assigned
    first, slash, _ = (inside + name).partition("/")
    named = splits_named(first) if slash else set()
    return named.pop() if len(named) == 1 else None


def _name_column(file: Path, header: Sequence[str]) -> int:
    if _FILE in header:
        return header.index(_FILE)
    if "file_names" in header:
        raise InvalidInput(
            f"{file}: every row must be one image, got the column file_names, which lists several; write one row per "
            "image, with its path in a column file_name"
        )
    raise InvalidInput(
        f"{file}: metadata need the column file_name, got {', '.join(header) or 'none'}; rename the column of the "
        "images' paths to it"
    )


def _label_column(file: Path, header: Sequence[str]) -> int:
    found = usual_words("label", header)
    if len(found) == 1:
        return found[0]
    got = " and ".join(header[place] for place in found) or f"none among {', '.join(header)}"
    raise InvalidInput(
        f"{file}: metadata need one column label, got {got}; add it or rename a column, or set data.format: folders "
        "where folders are the classes"
    )


def _json_lines(file: Path) -> tuple[list[str], list[tuple[int, list[Any]]]]:
    """Return the fields of a JSON Lines file as columns, and its rows with the numbers of their lines."""
    check_readable(file)
    found: list[tuple[int, dict[str, Any]]] = []
    try:
        lines = read_user_file(file, MANIFEST).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file}: metadata must be in UTF-8, got {error}; save the file as UTF-8") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InvalidInput(
                f"{file}:{number}: each line must be JSON, got {error}; write one {{...}} per line"
            ) from error
        if not isinstance(value, dict):
            raise InvalidInput(f"{file}:{number}: each line must be an object {{...}}, got {shown(value)}; write one")
        found.append((number, value))
    header = list(dict.fromkeys(key for _, row in found for key in row))
    return header, [(number, [row.get(key) for key in header]) for number, row in found]


def _field(value: Any) -> str:
    return "" if value is None else str(value).strip()

"""Table of a manifest: its separator, and the columns that hold path, label and split, whatever words head them."""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from search_spaces.errors import InvalidInput, shown
from search_spaces.permissions import check_readable
from search_spaces.user_files import MANIFEST, read_user_file
from trainables.data.sources.bucket_file import local_file
from trainables.storage.place import Place

_COLUMNS = ("path", "label", "split")

_SEPARATORS = (",", ";", "\t", "|")
_MARKS = {**dict.fromkeys(("0", "0.0", "false", ""), 0), **dict.fromkeys(("1", "1.0", "true"), 1)}
SPLIT_WORDS = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "testing": "test",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
}
"""Other words for the splits."""

# Columns by which other programs divide images, in small letters: fastai's is_valid, folds of a cross-validation.
_ASSIGNING = ("is_valid", "is_val", "is_validation", "is_test", "is_train", "fold", "folds", "kfold", "k_fold")

_OTHER_WORDS: Mapping[str, Sequence[str]] = {
    "path": (
        *("filename", "filepath", "file", "file_name", "file_path", "filenames", "image", "image_path", "imagepath"),
        *("image_name", "image_file", "img", "img_path", "paths"),
    ),
    "label": ("class", "class_name", "classname", "category", "labels", "target", "label_name"),
    "split": ("set", "subset", "partition", "dataset"),
}


class ManifestRow(NamedTuple):
    """ManifestRow of a manifest."""

    line: int
    """Number of its line, as an editor counts."""

    path: str
    label: str
    split: str

    mark: str | None = None
    """Value of the column `group_by`, where there is one."""


def manifest_rows(manifest: Place, *, divided: bool = False, group_by: str | None = None) -> list[ManifestRow]:
    """Read the rows of a manifest, without the white space around path, label and split.

    Where the images are `divided` by Thaw, the column split may be lacking: all rows are then of train. `group_by` may
    name another column that is read, which is then no class.

    Separator is the comma, the semicolon, the tab or the bar that gives the columns. A column is known by its name,
    else by its name in other capitals, else by another usual word. Without a label, one column per class is read:
    each other column then holds 0 or 1, and each row one 1. Raises InvalidInput.
    """
    header, rows = read_table(manifest)
    places = _places(manifest, header, divided=divided)
    if not rows:
        raise InvalidInput(f"{manifest}: a manifest must list images, got a header alone; add one row per image")
    marks = header.index(group_by) if group_by is not None and group_by in header else None
    classes = {place: name for place, name in enumerate(header) if place not in (*places.values(), marks)}
    if "split" not in places:
        _check_no_splits(manifest, classes, [row for _, row in rows])
    return [
        ManifestRow(
            line,
            row[places["path"]],
            row[places["label"]] if "label" in places else _marked(manifest, line, row, classes),
            row[places["split"]] if "split" in places else "train",
            None if marks is None else row[marks],
        )
        for line, row in rows
    ]


def read_table(file: Place) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the columns of a CSV or TSV file, and its rows with the numbers of their lines, as long as the columns.

    White space around a field is left out, as are empty rows. Raises InvalidInput.
    """
    if isinstance(file, Path):
        check_readable(file)
    try:
        text = io.StringIO(_decoded(read_user_file(local_file(file), MANIFEST)), newline="").readlines()
        if text and text[0].lower().startswith("sep="):  # a line for Excel
            text[0] = "\n"
    except OSError as error:
        raise InvalidInput(
            f"{file}: data.manifest must be a readable CSV file, got: {error.strerror}; correct the path"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{file}: data.manifest must be a CSV file in UTF-8, got {error}; save it as UTF-8, or correct the path"
        ) from error
    table = [(line, row) for line, row in _numbered(file, text) if any(map(str.strip, row))]
    header = [name.strip() for name in table[0][1]] if table else []
    for line, row in table[1:]:
        if any(map(str.strip, row[len(header) :])):
            raise InvalidInput(
                f"{file}:{line}: a row must not have more fields than the {len(header)} columns, got {len(row)}; "
                "put a text that holds the separator between quotation marks"
            )
    rows = [(line, [*map(str.strip, row[: len(header)]), *[""] * (len(header) - len(row))]) for line, row in table[1:]]
    return header, rows


def _numbered(file: Place, text: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of the line in which it begins."""
    line = 1
    try:
        # Else the rows behind a quotation mark that is not closed would be one field, down to the next mark or the end.
        reader = csv.reader(text, delimiter=_separator(text), strict=True)
        for row in reader:
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidInput(
            f"{file}:{line}: a field that begins with a quotation mark must end with one, got {error}; close it, or "
            "double the marks within the field"
        ) from error


def _decoded(data: bytes) -> str:
    """Decode a table in UTF-8, or in UTF-16 with its byte order mark, as Excel writes it."""
    return data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")


def _separator(text: Sequence[str]) -> str:
    """Return the separator by which the header names most of the columns; the comma where several do."""

    def found(separator: str) -> int:
        header = next(filter(None, csv.reader(text[:2], delimiter=separator)), [])
        return sum(bool(usual_words(name, [word.strip() for word in header])) for name in _COLUMNS)

    return max(_SEPARATORS, key=found)


def _places(manifest: Place, header: Sequence[str], *, divided: bool) -> dict[str, int]:
    """Return the place of each column; without that of the label where there is one column per class.

    Without that of the split where the images are to be `divided` and it is lacking.
    """
    places: dict[str, int] = {}
    for name in _COLUMNS:
        found = usual_words(name, header)
        if len(found) > 1:
            names = [header[place] for place in found]
            remedy = f"rename the right one to {name}" if name not in names else f"rename all but one {name}"
            raise InvalidInput(f"{manifest}: column {name} must be one, got {' and '.join(names)}; {remedy}")
        if found:
            places[name] = found[0]
    needed = [name for name in _COLUMNS if not (divided and name == "split")]
    lacking = [name for name in needed if name not in places]
    if lacking and (lacking != ["label"] or len(header) < len(places) + 2):
        raise InvalidInput(
            f"{manifest}: a manifest needs the columns {', '.join(needed)}, got {', '.join(header) or 'none'}"
            f"; add {', '.join(lacking)} to its first line, or rename a column to it{_or_divide(lacking)}"
        )
    return places


def _check_no_splits(manifest: Place, others: Mapping[int, str], rows: Sequence[Sequence[str]]) -> None:
    """Raise InvalidInput where the images are to be divided, and a column of another name holds their splits."""
    for place, name in others.items():
        if name.lower() in _ASSIGNING:
            raise InvalidInput(
                f"{manifest}: data.split divides images that are in no split, but the column {shown(name)} assigns "
                "them; write a column split with train, val and test from it, or remove it"
            )
        if {row[place].lower() for row in rows} <= {*SPLIT_WORDS, *SPLIT_WORDS.values()}:
            raise InvalidInput(
                f"{manifest}: data.split divides images that are in no split, but the column {shown(name)} holds "
                f"{rows[0][place]} and the like; rename it to split, or remove it"
            )


def _or_divide(lacking: Sequence[str]) -> str:
    return "; or set `data.split: {val: 0.15}`, which divides the images" if "split" in lacking else ""


def usual_words(name: str, header: Sequence[str]) -> list[int]:
    """Return the places of the columns that hold `name`: under its name, in other capitals, or under another word."""
    lower = [word.lower().replace(" ", "_") for word in header]
    exact = [place for place, word in enumerate(header) if word == name]
    capitals = [place for place, word in enumerate(lower) if word == name]
    return exact or capitals or [place for place, word in enumerate(lower) if word in _OTHER_WORDS[name]]


def _marked(manifest: Place, line: int, row: Sequence[str], classes: Mapping[int, str]) -> str:
    """Return the class whose column holds the 1 of a row."""
    values = {place: _MARKS.get(row[place].lower()) for place in classes}
    marked = [classes[place] for place, value in values.items() if value]
    if None in values.values() or len(marked) != 1:
        odd = next((place for place, value in values.items() if value is None), None)
        got = f"{shown(row[odd])} in {classes[odd]}" if odd is not None else f"{len(marked)} of them"
        raise InvalidInput(
            f"{manifest}:{line}: without a column label, each further column must be a class and each row hold one 1, "
            f"got {got}; add a column label"
        )
    return marked[0]

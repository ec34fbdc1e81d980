"""The CSV manifest: which image has which label and lies in which split, where folders do not say so."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from search_spaces.errors import InvalidInput, one_of, shown
from search_spaces.paths import check_path
from search_spaces.permissions import check_readable

_COLUMNS = ("path", "label", "split")


def manifest_entries(root: Path, manifest: Path, splits: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Read the (path, label) pairs of each split that the manifest names, in its order; further columns are ignored.

    Paths are normalised, with forward slashes, and are files below `root`, each listed once. Raises InvalidInput.
    """
    rows = _rows(manifest)
    entries: dict[str, list[tuple[str, str]]] = {}
    for line, (path, label, split) in rows:
        if split not in splits:
            raise InvalidInput(f"{manifest}:{line}: split {one_of(split, splits)}")
        if not label:
            raise InvalidInput(
                f"{manifest}:{line}: label must not be empty, got {shown(label)}; name the class of {path}"
            )
        if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise InvalidInput(
                f"{manifest}:{line}: path must be relative to data.root and lie inside it, got {shown(path)}; "
                f"write it as seen from {root}"
            )
        try:
            check_path(path)
        except InvalidInput as error:
            raise InvalidInput(f"{manifest}:{line}: path: {error}") from None
        entries.setdefault(split, []).append((PurePosixPath(path).as_posix(), label))
    paths = [path for pairs in entries.values() for path, _ in pairs]
    duplicates = sorted(path for path, count in Counter(paths).items() if count > 1)
    if duplicates:
        raise InvalidInput(f"{manifest}: a path must be listed once, got {_some(duplicates)} twice; keep one row each")
    missing = sorted(path for path in paths if not (root / path).is_file())
    if missing:
        raise InvalidInput(
            f"{manifest}: every path must be a file under {root}, got none at {_some(missing)}; "
            "correct the paths or data.root"
        )
    return entries


def _rows(manifest: Path) -> list[tuple[int, tuple[str, str, str]]]:
    """Return the manifest's lines, numbered as an editor numbers them."""
    check_readable(manifest)
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            header = reader.fieldnames or []
            lacking = [name for name in _COLUMNS if name not in header]
            if lacking:
                raise InvalidInput(
                    f"{manifest}: a manifest needs the columns {', '.join(_COLUMNS)}, got {', '.join(header) or 'none'}"
                    f"; add {', '.join(lacking)} to its first line"
                )
            rows = [(reader.line_num, (row["path"].strip(), row["label"].strip(), row["split"])) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(
            f"{manifest}: data.manifest must be a readable CSV file in UTF-8, got {error}; correct the path or the file"
        ) from error
    if not rows:
        raise InvalidInput(f"{manifest}: a manifest must list images, got a header alone; add one row an image")
    return [(line, (path, label, split.strip())) for line, (path, label, split) in rows]


def _some(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more

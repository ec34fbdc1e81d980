"""CSV manifest of a data set: path, label and split of each image, where folders do not give them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from search_spaces.errors import InvalidInput, one_of, shown
from search_spaces.paths import check_path
from trainables.data.sources.manifest_table import SPLIT_WORDS, ManifestRow, manifest_rows
from trainables.storage.place import Place

NO_LABELS = ("", "nan", "<na>")
"""Labels that stand for none: what pandas writes for one that is not known, in small letters."""


def manifest_entries(
    root: Path,
    manifest: Place,
    splits: Sequence[str],
    used: Sequence[str],
    *,
    divided: bool = False,
    group_by: str | None = None,
) -> dict[str, list[tuple[str, str]]]:
    """Read the (path, label) pairs of each split that the manifest names, in its order; further columns are ignored.

    Paths are normalized, with forward slashes, and are files below `root`, each listed once. `valid` and `validation`
    stand for val, `training` for train, `testing` for test; capitals of a split do not matter. Rows of `splits` that
    are not `used` are left out. Where the images are `divided` by Thaw, a manifest without splits gives train alone,
    and a column `group_by` is none of a class.
    Raises InvalidInput.
    """
    entries = row_entries(root, manifest, manifest_rows(manifest, divided=divided, group_by=group_by), splits, used)
    check_files(root, manifest, [path for pairs in entries.values() for path, _ in pairs])
    return entries


def row_entries(
    root: Path, manifest: Place, rows: Iterable[ManifestRow], splits: Sequence[str], used: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    """Return the (path, label) pairs of rows by split, as `manifest_entries` does, without a look at the files."""
    entries: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        split = row.split if row.split in splits else row.split.lower()
        split = SPLIT_WORDS.get(split, split)
        if not split:
            raise InvalidInput(
                f"{manifest}:{row.line}: split must be one of {', '.join(splits)} in every row, got none; fill it in, "
                "or remove the column and set data.split, which divides the images"
            )
        if split not in splits:
            raise InvalidInput(f"{manifest}:{row.line}: split {one_of(row.split, splits)}")
        if split not in used:
            continue
        if row.label.lower() in NO_LABELS:
            raise InvalidInput(
                f"{manifest}:{row.line}: label must not be empty, got {shown(row.label)}; "
                f"name the class of {row.path}, or remove the row"
            )
        entries.setdefault(split, []).append((manifest_path(root, manifest, row), row.label))
    return entries


def manifest_marks(root: Path, manifest: Place, column: str) -> dict[str, str] | None:
    """Return the value of a column by the path of each image; None where the manifest has no column of this name."""
    rows = manifest_rows(manifest, divided=True, group_by=column)
    return {manifest_path(root, manifest, row): row.mark for row in rows if row.mark is not None} or None


def manifest_path(root: Path, manifest: Place, row: ManifestRow) -> str:
    """Return the path of a row below `root`, with forward slashes; raises InvalidInput where it lies elsewhere."""
    path = row.path
    try:
        check_path(path)
    except InvalidInput as error:
        raise InvalidInput(f"{manifest}:{row.line}: path: {error}") from None
    # Written on Windows, unless a file of this system has the backslash in its name.
    if "\\" in path and not (root / path).is_file():
        path = path.replace("\\", "/")
    if (whole := Path(path)).is_absolute() and whole.is_relative_to(root.absolute()):
        path = whole.relative_to(root.absolute()).as_posix()
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts or parts[0][1:] == ":":
        raise InvalidInput(
            f"{manifest}:{row.line}: path must be relative to data.root and lie inside it, got {shown(row.path)}; "
            f"write it as seen from {root}"
        )
    return PurePosixPath(path).as_posix()


def check_files(root: Path, manifest: Place, paths: Sequence[str]) -> None:
    """Raise InvalidInput where a path is listed twice, or is no file below `root`."""
    duplicates = sorted(path for path, count in Counter(paths).items() if count > 1)
    if duplicates:
        raise InvalidInput(f"{manifest}: a path must be listed once, got {_some(duplicates)} twice; keep one row each")
    missing = sorted(path for path in paths if not (root / path).is_file())
    if missing:
        raise InvalidInput(
            f"{manifest}: every path must be a file under {root}, got none at {_some(missing)}; "
            "correct the paths or data.root"
        )


def _some(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more

"""Files of one result, which take the place of those of an earlier one together."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory


def write_together(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files of a result, texts by name, into a folder; it is made where there is none. Raises OSError.

    All are written under other names first. Then the old ones are removed, and the new ones get their names: a process
    that is killed meanwhile leaves files out, and none of two results.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".new-", dir=folder) as new:
        for name, text in files.items():
            (Path(new) / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        for name in files:
            (folder / name).unlink(missing_ok=True)
        for name in files:
            (Path(new) / name).rename(folder / name)

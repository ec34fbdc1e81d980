import errno
import os
from pathlib import Path

import pytest

from analysis.run_store import write_atomically
from search_spaces.errors import InvalidInput, ThawError


def test_write_creates_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, "old")
    write_atomically(path, "neu: ü")
    assert path.read_text("utf-8") == "neu: ü"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, r"keep: the disk is full \(No space left on device\), b.txt was not written; free some space"),
        (errno.EACCES, r"keep: cannot write b.txt \(Permission denied\); the folder must be writable"),
    ],
)
def test_failed_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    path = tmp_path / "keep" / "b.txt"
    write_atomically(path, "old")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ThawError, match=message) as error:
        write_atomically(path, "new")
    assert not isinstance(error.value, InvalidInput)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_where_a_folder_should_be_is_reported(tmp_path: Path) -> None:
    (tmp_path / "trials").touch()
    with pytest.raises(ThawError, match=r"trials: cannot write 1\.json"):
        write_atomically(tmp_path / "trials" / "1.json", "")

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_spaces.permissions import check_readable, missing_permission

NOBODY = 65534

# The packages may lie in a folder that is closed to another user: they are imported first.
CODE = """
import grp, os, pwd, sys
from pathlib import Path
from search_spaces.errors import InvalidInput
from search_spaces.permissions import check_readable, missing_permission
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for name in sys.argv[1:]:
    try:
        check_readable(Path(name))
        print(missing_permission(Path(name)))
    except InvalidInput as error:
        print("refused:", error)
"""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


def as_nobody(*paths: Path) -> list[str]:
    command = [sys.executable, "-c", CODE, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder below which another user may look; one of pytest's lies below one that is closed."""
    with tempfile.TemporaryDirectory(prefix="thaw-shared-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@root_only
def test_a_file_of_another_user_is_named_with_owner_and_mode(shared: Path) -> None:
    file = shared / "run.json"
    file.touch(0o600)
    file.chmod(0o600)
    (line,) = as_nobody(file)
    assert line == (
        f"refused: {file}: this user (uid {NOBODY}) must have permission to read this file, but its owner is root, "
        f"its group root and its mode -rw-------; change that, as root, with `chmod go+r {file}`"
    )


@root_only
def test_a_folder_above_that_is_closed_is_named(shared: Path) -> None:
    closed = shared / "closed"
    (closed / "run").mkdir(parents=True)
    closed.chmod(0o700)
    for path in (closed / "run" / "run.json", closed / "missing"):
        (line,) = as_nobody(path)
        assert line.startswith(f"refused: {path}: this user (uid {NOBODY}) must have permission to enter {closed}, but")
        assert "drwx------" in line
        assert f"`chmod go+rX {closed}`" in line


@root_only
def test_a_folder_that_may_not_be_listed_is_named(shared: Path) -> None:
    folder = shared / "trials"
    folder.mkdir()
    folder.chmod(0o711)
    (line,) = as_nobody(folder)
    assert line.startswith(f"refused: {folder}: ")
    assert "permission to list this folder" in line


@root_only
def test_what_may_be_read_is_told_by_the_right_to_write(shared: Path) -> None:
    (shared / "read").write_text("")
    lines = as_nobody(shared / "read", shared / "new", shared)
    assert not any(line.startswith("refused") for line in lines)
    for words, line in zip(("to", "into", "to"), lines, strict=True):
        assert f"permission to write {words} {shared}, but" in line


def test_what_is_readable_or_missing_is_no_matter_of_permission(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "none", tmp_path / "file" / "below", tmp_path / ("n" * 300)):
        check_readable(path)


@root_only
def test_an_owner_without_a_name_and_a_right_that_no_mode_denies(shared: Path) -> None:
    (shared / "file").touch()
    assert "although its mode grants it" in missing_permission(shared / "file")
    shared.chmod(0o700)
    os.chown(shared, 54321, 54322)
    assert "its owner is uid 54321, its group gid 54322" in as_nobody(shared)[0]

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search_spaces.errors import InvalidInput, StorageFailed
from trainables.data.sources.node_copy import copied_once, inner_parts, newest_copy

PLACE = Path("photos")


def _fill(folder: Path) -> int:
    (folder / "a.jpg").write_bytes(b"a")
    return 1


def _slowly(folder: Path, log: Path) -> None:
    with log.open("a") as file:
        file.write("begun\n")
    (folder / "a.jpg").write_bytes(b"a")
    time.sleep(0.5)
    (folder / "b.jpg").write_bytes(b"b")


def _copy(cache: Path, log: Path) -> None:
    folder, _ = copied_once(cache, PLACE, ["x"], 0, lambda folder: _slowly(folder, log))
    assert sorted(path.name for path in folder.iterdir()) == ["a.jpg", "b.jpg"]


def test_a_copy_is_made_once_for_each_origin(tmp_path: Path) -> None:
    assert newest_copy(tmp_path, PLACE) is None
    folder, contents = copied_once(tmp_path, PLACE, ["x", 1], 0, _fill)
    assert (contents, (folder / "a.jpg").read_bytes()) == (1, b"a")
    assert copied_once(tmp_path, PLACE, ["x", 1], 0, pytest.fail) == (folder, 1)
    assert newest_copy(tmp_path, PLACE) is not None
    assert newest_copy(tmp_path, PLACE).resolve() == folder  # type: ignore[union-attr]
    other, _ = copied_once(tmp_path, PLACE, ["x", 2], 0, _fill)
    assert other != folder
    assert newest_copy(tmp_path, PLACE).resolve() == other  # type: ignore[union-attr]


def test_of_two_processes_one_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_copy, args=(tmp_path / "cache", tmp_path / "log")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "begun\n"


def test_a_killed_process_leaves_no_copy(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_copy, args=(tmp_path / "cache", tmp_path / "log"))
    process.start()
    while not list((tmp_path / "cache").rglob("a.jpg")):
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert newest_copy(tmp_path / "cache", PLACE) is None
    _copy(tmp_path / "cache", tmp_path / "log")
    assert [path.name for path in (tmp_path / "cache").rglob("*.partial")] == []


def test_what_fails_leaves_no_copy(tmp_path: Path) -> None:
    def refuse(folder: Path) -> Any:
        _fill(folder)
        raise InvalidInput("odd")

    with pytest.raises(InvalidInput, match="odd"):
        copied_once(tmp_path, PLACE, ["x"], 0, refuse)
    assert list(tmp_path.rglob("*.jpg")) == []


def test_a_full_disk_is_named_with_a_remedy(tmp_path: Path, small_disk: tuple[Path, Callable[[int], None]]) -> None:
    disk, _ = small_disk

    def fill(folder: Path) -> None:
        (folder / "a.jpg").write_bytes(bytes(3 << 20))

    for needed in (0, 3 << 20):  # found out while writing, and before
        with pytest.raises(StorageFailed, match=r"got a full disk; free space there, or set storage.cache_dir"):
            copied_once(disk, PLACE, ["x"], needed, fill)
        assert list(disk.rglob("*.jpg")) == []
    with pytest.raises(StorageFailed, match=r"storage\.cache_dir"):
        copied_once(Path("/proc/none"), PLACE, ["x"], 0, _fill)


@pytest.mark.parametrize(
    ("name", "parts"), [("/a/./b.jpg", ("a", "b.jpg")), ("a\n/b", ("a\n", "b")), ("..a", ("..a",))]
)
def test_a_name_within_is_taken_as_it_is(name: str, parts: tuple[str, ...]) -> None:
    assert inner_parts("x.tar", name) == parts


@pytest.mark.parametrize("name", ["", "/", "../a", "a/..", "a\0", "a" * 256])
def test_a_name_that_no_file_may_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"x.tar: (every file must have a name that stays|a path must|each name)"):
        inner_parts("x.tar", name)

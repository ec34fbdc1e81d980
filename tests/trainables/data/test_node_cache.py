import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trainables.data.node_cache as node_cache
from search_spaces.errors import ThawError
from trainables.data.node_cache import NodeCache

SHAPE = (7, 8, 8, 3)
HEADER = 128 + 4  # and the checksum

# One process of the node. It says when it is ready, waits for the start, and notes each row that it computes itself.
BUILDER = """
import os, sys, time
from pathlib import Path
import numpy as np
from trainables.data.node_cache import NodeCache

folder, cache, rows, pause = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

def build():
    for row in range(rows):
        with (folder / "notes").open("a") as file:
            file.write(f"{os.getpid()} {row}\\n")
        time.sleep(pause)
        yield np.full((1, 1024), row, dtype=np.int16)

(folder / f"ready-{os.getpid()}").touch()
while not (folder / "start").exists():
    time.sleep(0.002)
array = NodeCache(cache).array("features", "key", (rows, 1024), np.int16, build)
print(array.shape, int(array.sum(dtype=np.int64)))
"""

# Another process of the node, which has an array mapped until it is told to end, or is killed.
READER = """
import sys
from pathlib import Path
import numpy as np
from trainables.data.node_cache import NodeCache

array = NodeCache(Path(sys.argv[1])).array("images", sys.argv[2], (100,), np.uint8, lambda: iter(()))
print(int(array[0]), flush=True)
sys.stdin.read()
print(int(array.sum(dtype=np.int64)))
"""


def ones(shape: tuple[int, ...] = SHAPE) -> Iterator[np.ndarray[Any, Any]]:
    for _ in range(shape[0]):
        yield np.ones((1, *shape[1:]), dtype=np.uint8)


def never() -> Iterator[np.ndarray[Any, Any]]:
    pytest.fail("built a second time")
    yield


def build(cache: NodeCache, key: str, size: int = 100) -> np.ndarray[Any, Any] | None:
    return cache.array("images", key, (size,), np.uint8, lambda: iter([np.ones(size, dtype=np.uint8)]))


def kept(cache: NodeCache) -> set[str]:
    return {path.stem for path in cache.folder.glob("*/*.npy")}


def started(*lines: str, cwd: Path = Path(__file__).parents[3]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", *lines], stdin=pipe, stdout=pipe, text=True, cwd=cwd)


def test_built_once_in_order_mapped_and_read_only(tmp_path: Path) -> None:
    expected = np.random.default_rng(0).standard_normal((7, 3, 2)).astype(np.float16)
    seen = []
    array = NodeCache(tmp_path).array(
        "features",
        "key",
        (7, 3, 2),
        np.float16,
        lambda: iter([expected[:4], expected[4:4], expected[4:]]),
        lambda *progress: seen.append(progress),
    )
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    assert seen == [(4, 7), (4, 7), (7, 7)]
    np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(np.load(tmp_path / "features" / "key.npy"), expected)
    again = NodeCache(tmp_path).array("features", "key", (7, 3, 2), np.float16, never)
    np.testing.assert_array_equal(again, expected)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def _garble(path: Path) -> None:
    path.write_bytes(os.urandom(300))


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _half_a_header(path: Path) -> None:
    os.truncate(path, 20)


def _of_another_shape(path: Path) -> None:
    np.save(path, np.zeros((3, 8, 8, 3), dtype=np.uint8))


def _of_another_order(path: Path) -> None:
    np.save(path, np.zeros(SHAPE, dtype=np.uint8, order="F"))


def _of_another_type(path: Path) -> None:
    np.save(path, np.zeros(SHAPE, dtype=np.int8))


def _of_objects(path: Path) -> None:
    np.save(path, np.array([None]), allow_pickle=True)


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _lengthen,
        _garble,
        _flip_a_bit,
        _empty,
        _half_a_header,
        _of_another_shape,
        _of_another_order,
        _of_another_type,
        _of_objects,
    ],
)
def test_a_damaged_file_is_built_anew(tmp_path: Path, damage: Any) -> None:
    def opened() -> np.ndarray[Any, Any] | None:
        return NodeCache(tmp_path).array("images", "key", SHAPE, np.uint8, ones)

    expected, path = np.array(opened()), tmp_path / "images" / "key.npy"
    size = path.stat().st_size
    damage(path)
    node_cache._intact.clear()  # as in another process
    np.testing.assert_array_equal(opened(), expected)
    np.testing.assert_array_equal(np.load(path), expected)
    assert path.stat().st_size == size == HEADER + expected.nbytes


def test_processes_that_start_at_once_share_one_build(tmp_path: Path) -> None:
    processes = [started(BUILDER, str(tmp_path), str(tmp_path / "cache"), "7", "0.05") for _ in range(2)]
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("ready-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (tmp_path / "start").touch()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs == [f"(7, 1024) {1024 * 21}\n"] * 2
    notes = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    assert len({process for process, _ in notes}) == 1
    assert [int(row) for _, row in notes] == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("seed", range(6))
def test_a_builder_killed_at_any_moment_leaves_nothing_that_is_read(tmp_path: Path, seed: int) -> None:
    rows, pause = 20, 0.005
    (tmp_path / "start").touch()
    process = started(BUILDER, str(tmp_path), str(tmp_path / "cache"), str(rows), str(pause))
    while not list(tmp_path.glob("ready-*")):
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(random.Random(seed).uniform(0, 1.1 * rows * (pause + 0.002)))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    built: list[int] = []

    def again() -> Iterator[np.ndarray[Any, Any]]:
        for row in range(rows):
            built.append(row)
            yield np.full((1, 1024), row, dtype=np.int16)

    was_whole = (tmp_path / "cache" / "features" / "key.npy").exists()
    array = NodeCache(tmp_path / "cache").array("features", "key", (rows, 1024), np.int16, again)
    assert array is not None
    np.testing.assert_array_equal(array, np.repeat(np.arange(rows, dtype=np.int16)[:, None], 1024, axis=1))
    assert built == ([] if was_whole else list(range(rows)))
    assert not list((tmp_path / "cache").glob("*/*.partial"))


def test_what_a_killed_builder_left_does_not_count_for_ever(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 1000)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "dead.npy.partial").write_bytes(b"x" * 900)
    assert build(cache, "a") is not None
    assert not list(tmp_path.glob("*/*.partial"))


def test_a_build_under_way_has_its_bytes(tmp_path: Path) -> None:
    cache, begun, go_on = NodeCache(tmp_path, 3 * (HEADER + 100)), threading.Event(), threading.Event()

    def slowly() -> Iterator[np.ndarray[Any, Any]]:
        begun.set()
        assert go_on.wait(60)
        yield np.ones(300, dtype=np.uint8)

    thread = threading.Thread(target=cache.array, args=("images", "slow", (300,), np.uint8, slowly))
    thread.start()
    assert begun.wait(60)
    assert build(cache, "a", 200) is None
    assert build(cache, "b", 100) is not None
    go_on.set()
    thread.join()
    assert kept(cache) == {"slow", "b"}


def test_larger_than_the_budget_is_not_built_and_costs_nobody_his_place(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 2 * (HEADER + 100))
    build(cache, "a")
    build(cache, "b")
    assert cache.array("images", "large", (1000,), np.uint8, never) is None
    assert kept(cache) == {"a", "b"}


@settings(max_examples=60)
@given(
    budget=st.integers(0, 2500),
    requests=st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([10, 100, 400, 900])), max_size=12),
)
def test_the_least_recently_used_go_first_and_the_budget_is_kept(
    tmp_path_factory: pytest.TempPathFactory, budget: int, requests: list[tuple[str, int]]
) -> None:
    cache = NodeCache(tmp_path_factory.mktemp("cache"), budget)
    # Names from the least to the most recently used, with their bytes.
    model: dict[str, int] = {}
    for letter, size in requests:
        key, bytes_ = f"{letter}{size}", HEADER + size
        array = build(cache, key, size)
        if key in model or bytes_ <= budget:
            model[key] = model.pop(key, bytes_)
            while sum(model.values()) > budget:
                del model[next(iter(model))]
        assert (array is not None) == (key in model)
        assert array is None or int(array.sum()) == size
        assert kept(cache) == set(model)
        del array
    shutil.rmtree(cache.folder)


def test_what_a_process_uses_stays_until_it_ends_or_is_killed(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 2 * (HEADER + 100))
    build(cache, "a")
    reader = started(READER, str(tmp_path), "a")
    assert reader.stdout is not None
    assert reader.stdout.readline() == "1\n"
    mine = build(cache, "b")
    assert build(cache, "c") is None
    assert kept(cache) == {"a", "b"}
    reader.kill()
    reader.communicate(timeout=60)
    assert build(cache, "c") is not None
    assert kept(cache) == {"b", "c"}
    assert mine is not None
    part = mine[50:]
    del mine
    assert build(cache, "d") is not None
    assert kept(cache) == {"b", "d"}
    del part
    assert build(cache, "e") is not None
    assert kept(cache) == {"d", "e"}


def test_an_array_that_is_removed_stays_readable_where_it_is_mapped(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path)
    build(cache, "a")
    reader = started(READER, str(tmp_path), "a")
    assert reader.stdout is not None
    assert reader.stdout.readline() == "1\n"
    shutil.rmtree(tmp_path / "images")
    assert reader.communicate(timeout=60)[0] == "100\n"


def test_without_a_budget_it_takes_half_of_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage, cache = shutil.disk_usage(tmp_path), NodeCache(tmp_path)
    monkeypatch.setattr(node_cache.shutil, "disk_usage", lambda path: usage._replace(free=2 * (HEADER + 100)))
    assert build(cache, "a", 101) is None
    assert build(cache, "b", 100) is not None
    monkeypatch.setattr(node_cache.shutil, "disk_usage", lambda path: usage._replace(free=HEADER + 100))
    assert build(cache, "c", 100) is not None
    assert kept(cache) == {"c"}


@pytest.mark.parametrize("when", ["before", "while writing"])
def test_a_full_disk_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    cache = NodeCache(tmp_path, 10**6)
    if when == "before":
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(node_cache.shutil, "disk_usage", lambda path: usage._replace(free=HEADER + 1343))
    else:

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(node_cache.os, "fsync", full)
    with pytest.raises(ThawError, match=r"images: the node's cache needs 1476 bytes .*full disk; free space there"):
        cache.array("images", "key", SHAPE, np.uint8, ones)
    assert [path for path in (tmp_path / "images").iterdir() if path.suffix != ".lock"] == []


def test_a_disk_that_is_full_of_old_arrays_gives_them_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, usage = NodeCache(tmp_path, 10**6), shutil.disk_usage(tmp_path)
    build(cache, "a")
    build(cache, "b")
    monkeypatch.setattr(node_cache.shutil, "disk_usage", lambda path: usage._replace(free=10))
    assert build(cache, "c") is not None
    assert kept(cache) == {"b", "c"}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(ThawError, match=r"cache/images: the node's cache must be writable, got .*storage.cache_dir"):
        build(NodeCache(tmp_path / "cache"), "a")


def test_a_builder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray[Any, Any]]:
        yield np.ones((2, 8, 8, 3), dtype=np.uint8)
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        NodeCache(tmp_path).array("features", "key", SHAPE, np.uint8, broken)
    assert [path for path in (tmp_path / "features").iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((6, 8, 8, 3), np.uint8),
        np.ones((8, 8, 8, 3), np.uint8),
        np.ones((7, 8, 8), np.uint8),
        np.ones(SHAPE, np.int8),
    ],
)
def test_rows_that_are_not_the_array_are_refused(tmp_path: Path, rows: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="rows must be"):
        NodeCache(tmp_path).array("features", "key", SHAPE, np.uint8, lambda: iter([rows]))
    assert kept(NodeCache(tmp_path)) == set()

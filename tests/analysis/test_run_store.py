import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from analysis.run_folder import Generation, RunFolder
from analysis.run_store import RunStore, write_atomically
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


def test_a_checkpoint_that_is_replaced_meanwhile_is_copied_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = RunFolder(tmp_path), RunFolder(tmp_path, generations=(Generation(1, 0), Generation(2, 1)))
    write_heartbeat(tmp_path, new.generations)

    def save(epoch: int) -> None:
        fresh = old.last("0000").with_name(".last.new")
        fresh.mkdir(parents=True)
        for name in ("model.safetensors", "state.json"):
            (fresh / name).write_text(f"epoch {epoch}")
        shutil.rmtree(old.last("0000"), ignore_errors=True)
        fresh.rename(old.last("0000"))

    link, epochs = os.link, iter((2, 3))

    def link_slowly(source: str, target: str) -> None:
        link(source, target)
        if (epoch := next(epochs, None)) is not None:
            save(epoch)

    save(1)
    monkeypatch.setattr(os, "link", link_slowly)
    RunStore(new).inherit("0000")
    assert {path.name: path.read_text() for path in new.last("0000").iterdir()} == {
        "model.safetensors": "epoch 3",
        "state.json": "epoch 3",
    }
    assert [path.name for path in new.last("0000").parent.iterdir()] == ["last"]


def write_heartbeat(root: Path, generations: tuple[Generation, ...]) -> None:
    (root / "driver.2.json").write_text(json.dumps({"generations": generations}))

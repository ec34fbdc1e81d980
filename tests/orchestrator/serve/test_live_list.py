from pathlib import Path

import pytest

from orchestrator.serve.live_list import LiveList, key_of
from orchestrator.serve.refresher import Refresher
from search_spaces.errors import InvalidInput


def test_a_key_is_the_name_or_stands_for_it() -> None:
    assert key_of("run-1.b") == "run-1.b"
    for odd in ("a b", ".hidden", "..", "\udcff", "ü", "a#b", "~x", ""):
        assert key_of(odd).startswith("~")
    assert key_of("a b") != key_of("a  b")


def test_a_run_is_found_by_its_key_alone(runs: Path, refresher: Refresher) -> None:
    (runs / "empty").mkdir()
    found = LiveList(runs, refresher)
    assert not found.is_one_run
    first = found.run("first")
    assert first is not None
    assert first.place == runs / "first"
    assert found.run("first") is first
    for other in ("empty", "second", "..", "../runs/first"):
        assert found.run(other) is None


def test_a_folder_without_runs(tmp_path: Path, refresher: Refresher) -> None:
    assert "No runs yet" in LiveList(tmp_path, refresher).part.current().text
    (tmp_path / "later").mkdir()
    gone = LiveList(tmp_path / "later", refresher)
    (tmp_path / "later").rmdir()
    assert "must be a readable folder, got: No such file" in gone.part.current().text
    with pytest.raises(InvalidInput, match="must be a readable folder"):
        gone.run("first")


def test_a_folder_that_cannot_be_listed_is_a_row(runs: Path, refresher: Refresher) -> None:
    (runs / "loop").symlink_to("loop")
    found = LiveList(runs, refresher)
    text = found.part.current().text
    assert "Too many levels of symbolic links" in text
    assert "4 of 4" in text

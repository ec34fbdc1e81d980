from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from analysis.run_folder import RunFolder
from orchestrator.commands import options
from orchestrator.tracking.observer import TrackerProblem
from orchestrator.tracking.weights_biases.offline_files import mark_as_sent
from search_spaces.errors import InvalidInput
from trainables.storage.place import as_place


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    text = StringIO()
    monkeypatch.setattr(options, "errors", Console(file=text, force_terminal=True, width=100))
    return text


def test_decoding_that_takes_a_while_has_a_bar(terminal: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_PATIENCE", 0.0)
    with options.decoding_bar() as on_decoding:
        on_decoding(3, 7)
    assert "fetching and decoding" in terminal.getvalue()
    assert "3/7" in terminal.getvalue()


def test_decoding_that_is_over_at_once_has_none(terminal: StringIO) -> None:
    with options.decoding_bar() as on_decoding:
        on_decoding(7, 7)
    assert terminal.getvalue() == ""


def test_a_bar_is_neither_for_files_nor_for_the_quiet(terminal: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_PATIENCE", 0.0)
    with options.decoding_bar(quiet=True) as on_decoding:
        on_decoding(3, 7)
    monkeypatch.setattr(options, "errors", Console(file=terminal))
    with options.decoding_bar() as on_decoding:
        on_decoding(3, 7)
    assert terminal.getvalue() == ""


def test_a_bar_ends_with_the_error(terminal: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_PATIENCE", 0.0)
    with pytest.raises(ValueError, match="no image"), options.decoding_bar() as on_decoding:
        on_decoding(3, 7)
        raise ValueError("no image")
    # The cursor is shown again.
    assert terminal.getvalue().rstrip().endswith("\x1b[2K") or "\x1b[?25h" in terminal.getvalue()


def test_a_problem_of_a_tracker_is_one_line(terminal: StringIO) -> None:
    options.show_problem(TrackerProblem("W&B", "W&B: [b] does not answer, " + "x " * 100))
    assert terminal.getvalue().count("\n") == 1
    assert "[b] does not answer" in terminal.getvalue()


def test_what_is_recorded_offline_has_a_hint_until_it_is_sent(
    empty_run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    options.hint_of_sync(empty_run)
    assert capsys.readouterr().err == ""
    file = empty_run.wandb / "offline-run-1-a" / "run-a.wandb"
    file.parent.mkdir(parents=True)
    file.touch()
    options.hint_of_sync(empty_run)
    assert f"thaw wandb sync {empty_run.root}" in capsys.readouterr().err.replace("\n", "")
    mark_as_sent(file)
    options.hint_of_sync(empty_run)
    assert capsys.readouterr().err == ""


def test_a_name_commands_no_terminal() -> None:
    assert options.escaped("a\x1b[31m[b].jpg") == r"a\x1b[31m\[b].jpg"


def test_what_is_written_lies_outside_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "photos")
    for inside in ("photos", "photos/a/b.png", "way/b.png", "x/../photos/b.png"):
        with pytest.raises(InvalidInput, match=r"--png: must lie outside of the data in .*photos, got .*; choose"):
            options.check_outside("--png", tmp_path / inside, tmp_path / "photos")
    options.check_outside("--png", tmp_path / "photos2" / "b.png", tmp_path / "photos")
    options.check_outside("--png", tmp_path / "b.png", as_place("s3://bucket/photos"))

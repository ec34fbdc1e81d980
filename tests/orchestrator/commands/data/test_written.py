from pathlib import Path
from typing import Any

import pytest

from orchestrator.commands.data.written import write_together

OLD, NEW = ({name: f"{text} {name}" for name in ("findings.csv", "data.html", "clean.csv")} for text in ("old", "new"))


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_of_one_result_take_the_place_of_the_others(tmp_path: Path) -> None:
    for files in (OLD, NEW):
        write_together(tmp_path / "a" / "b", files)
        assert contents(tmp_path / "a" / "b") == files


@pytest.mark.parametrize("method", ["write_text", "unlink", "rename"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_files_of_two_results_never_lie_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, call: int
) -> None:
    write_together(tmp_path, OLD)
    original, calls = getattr(Path, method), []

    def stopped(path: Path, *arguments: Any, **options: Any) -> Any:
        calls.append(path)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(path, *arguments, **options)

    monkeypatch.setattr(Path, method, stopped)
    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path, NEW)
    left = contents(tmp_path)
    assert left.items() <= OLD.items() or left.items() <= NEW.items()

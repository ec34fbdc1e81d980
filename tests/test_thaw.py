"""The Python face: its names, and that importing it costs nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import thaw
from analysis.leaderboard import Leaderboard
from orchestrator.spec.loading import load
from search_spaces.presets import preset_text
from trainables.bundle.predict import Predictor


def test_its_names() -> None:
    assert dir(thaw) == thaw.__all__ == ["Leaderboard", "Predictor", "compare_trials", "figures", "load", "run_sweep"]
    assert (thaw.Leaderboard, thaw.Predictor, thaw.load) == (Leaderboard, Predictor, load)
    assert thaw.run_sweep.__module__ == "orchestrator.driver.sweep"


def test_a_sweep_file_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text(preset_text("quickstart"))
    monkeypatch.chdir(tmp_path)
    assert thaw.load("mine.yaml") == thaw.load(tmp_path / "mine.yaml")


def test_another_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(AttributeError, match=r"^module 'thaw' has no attribute 'sweep'; it has Leaderboard, "):
        thaw.sweep  # noqa: B018


@pytest.mark.parametrize("statement", ["import thaw", "from thaw import Leaderboard, Predictor, load"])
def test_reading_imports_nothing_heavy(statement: str) -> None:
    code = f"{statement}; import sys; print(*({{'torch', 'ray', 'optuna', 'wandb', 'timm'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []

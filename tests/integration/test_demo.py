"""`thaw demo`, the first thing anybody runs: in an empty folder, as a process of its own."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.leaderboard import Leaderboard
from trainables.bundle.predict import Predictor

pytestmark = [pytest.mark.soak, pytest.mark.seconds(70)]


def test_the_demo_shows_the_whole_chain(thaw: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path):
    shown = thaw("demo", cwd=tmp_path, timeout=540)

    assert shown.returncode == 0, shown.stderr
    assert "Traceback" not in shown.stdout + shown.stderr
    steps = ["1. Data.", "2. Sweep.", "3. Leaderboard.", "4. Retrain", "5. Export", "6. Predict"]
    places = [shown.stdout.index(step) for step in steps]
    assert places == sorted(places)
    assert "imbalanced on purpose" in shown.stdout
    assert "The weights are random" in shown.stdout
    assert "12 trials of at most 6 epochs" in shown.stdout
    assert "macro f1" in shown.stdout
    assert "same label in onnxruntime and PyTorch" in shown.stdout
    for command in ("init", "space", "sweep", "leaderboard", "retrain", "export", "predict"):
        assert f"\n  thaw {command} " in shown.stdout

    run = tmp_path / "thaw-demo" / "runs" / "demo"
    board = Leaderboard.from_run(run)
    assert len(board.entries) == 12
    winner = board.winner()
    assert winner.objective is not None
    assert winner.objective > 0.6
    assert f"{winner.objective:.4f}" in shown.stdout[places[2] : places[3]]
    digits = tmp_path / "thaw-demo" / "digits" / "test"
    images = [next(iter(sorted((digits / digit).iterdir()))) for digit in ("0", "3", "7")]
    for prediction in Predictor.open(run / "export" / "model.onnx").predict_files(images):
        assert f" {prediction.label} " in shown.stdout[places[5] :]
        assert f"{prediction.probability:.3f}" in shown.stdout[places[5] :]

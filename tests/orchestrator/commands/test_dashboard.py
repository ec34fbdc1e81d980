"""The command `thaw dashboard`, as it is typed."""

import importlib.util
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cli import run
from orchestrator.serve.loopback import listen
from trainables.result import TrialResult
from trainables.status import Status

# What the machine of a reader need not have.
ABSENT = ("torch", "torchvision", "timm", "accelerate", "ray", "optuna", "wandb", "onnx", "sklearn")
WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r})); from orchestrator.cli import main; main()"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_run_is_shown_without_the_training_stack(
    empty_run: RunFolder, trial: Callable[..., TrialResult], tmp_path: Path
) -> None:
    Ledger(empty_run).write_trial(trial("0000", [0.5, 0.75], Status.COMPLETED, {"lr": 0.1}))
    command = [sys.executable, "-c", WITHOUT, "dashboard", str(empty_run.root), "--port", "0"]
    environment = {**os.environ, "COLUMNS": "200"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("http://127.0.0.1:"), line + process.stderr.read()
        assert f"shows {empty_run.root}" in line
        with urllib.request.urlopen(line.split()[0], timeout=30) as answer:
            assert "Trial 0000:" in answer.read().decode()
        process.terminate()
        process.wait(timeout=20)


def test_without_its_packages_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(["dashboard", str(tmp_path)]) == 2
    assert "needs fastapi, uvicorn, jinja2, matplotlib, pandas, plotly, not installed" in said(capsys)


def test_bad_input_ends_it_before_it_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dashboard", str(tmp_path / "none")]) == 2
    assert "RUNS_ROOT: must be an existing folder, got" in said(capsys)
    assert run(["dashboard", str(tmp_path), "--token-file", str(tmp_path / "none")]) == 2
    assert "--token-file: must be a readable text file" in said(capsys)
    with listen(0) as server:
        port = server.getsockname()[1]
        assert run(["dashboard", str(tmp_path), "--port", str(port)]) == 2
    assert f"--port: must be a free port of 127.0.0.1, got {port}: Address already in use" in said(capsys)

"""Refusals; what needs trained models is in `tests/integration/test_chain.py`."""

from pathlib import Path

import pytest

from orchestrator.cli import run


def test_a_model_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(tmp_path / "model.onnx"), str(tmp_path)]) == 2
    assert "no such model" in capsys.readouterr().err

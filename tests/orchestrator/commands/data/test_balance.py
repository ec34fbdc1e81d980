"""`thaw data balance`, as people type it."""

import json
from pathlib import Path

import pytest
from small_weights import ARCHITECTURE, write_weights

from orchestrator.cli import run
from trainables.estimate import head_balance


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(head_balance, "SEEDS", (0,))
    monkeypatch.setattr(head_balance, "EPOCHS", 1)
    return tmp_path


def test_answers_stand_side_by_side(here: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = str(write_weights(here / "weights"))
    assert run(["data", "balance", str(digits), "--weights", weights, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [answer["name"] for answer in document["answers"]] == ["none", "sampler", "loss", "effective", "focal"]
    assert (document["architecture"], sum(document["val_images"])) == (ARCHITECTURE, 79)
    assert "The guides' claim that the sampler serves rare classes best" in document["verdict"][-1]
    assert run(["data", "balance", str(digits), "--weights", weights, "--architecture", ARCHITECTURE]) == 0
    assert document["verdict"][-1] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--architecture", "resnet18"], "--architecture: must have weights on this machine, got resnet18; there are"),
        (["--weights", "nowhere"], "--weights: must be a folder of <architecture>.safetensors, got"),
    ],
)
def test_without_weights_nothing_is_compared(
    options: list[str], message: str, here: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = [] if "--weights" in options else ["--weights", str(write_weights(here / "weights"))]
    assert run(["data", "balance", str(digits), *options, *weights]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in " ".join(told.err.split())

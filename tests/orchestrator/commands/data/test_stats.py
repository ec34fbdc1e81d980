"""`thaw data stats`, as people type it."""

import json
from pathlib import Path

import pytest
from small_weights import ARCHITECTURE, write_weights

from orchestrator.cli import run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_stats_count_measure_probe_and_recommend(here: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = str(write_weights(here / "weights"))
    assert run(["data", "stats", str(digits), "--weights", weights, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["images"] == {"train": 367, "val": 79, "test": 79}
    assert document["pixels"]["image_size"] == 64
    assert [probe["architecture"] for probe in document["probes"]] == [ARCHITECTURE]
    assert document["recommendation"]["preset"]["value"] == "small-data"
    assert run(["data", "stats", str(digits), "--weights", weights]) == 0
    shown = capsys.readouterr().out
    assert "525 images (367 train, 79 val, 79 test) of 10 classes" in shown
    assert f"\n{ARCHITECTURE}" in shown
    assert "small-data" in shown
    assert not list(here.glob("*.*")), "nothing is written"


def test_counts_alone_need_no_weights(here: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "stats", str(digits), "--no-probe"]) == 0
    told = capsys.readouterr()
    assert "imbalance ratio" in told.out
    assert "no weights" not in told.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "must be a folder of images, a manifest or a sweep file"),
        (["photos"], "photos: images must lie in one folder per class"),
        (["DIGITS", "--weights", "photos"], "--weights: photos must hold <architecture>.safetensors of a timm model"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], message: str, here: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "photos").mkdir()
    assert run(["data", "stats", *(str(digits) if word == "DIGITS" else word for word in arguments)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in " ".join(told.err.split()).replace(f"{here}/", "")

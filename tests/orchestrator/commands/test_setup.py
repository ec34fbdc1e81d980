"""`thaw init` and `thaw schema`; `thaw doctor` and `thaw demo` are in `tests/integration`."""

import json
from pathlib import Path

import pytest
from small_weights import ARCHITECTURE, write_weights

from orchestrator.cli import run
from orchestrator.driver.preflight import check_inputs
from orchestrator.spec.loading import load
from orchestrator.spec.schema import sweep_schema
from search_spaces.errors import InvalidInput
from search_spaces.presets import preset_names
from trainables.data_config import SplitShares


@pytest.mark.parametrize("preset", sorted({*preset_names()} - {"demo"}))
def test_a_preset_is_written_for_one_s_own_photos(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "a/sweep.yaml", "--preset", preset, "--data", "my photos"]) == 0
    told = capsys.readouterr()
    assert (told.out, "run the sweep:     thaw sweep a/sweep.yaml" in told.err) == ("", True)
    assert load(tmp_path / "a" / "sweep.yaml").data.root == tmp_path / "my photos"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["taken.yaml"], "taken.yaml: must not exist yet, but it does; choose another name, or remove it"),
        (["new.yaml", "--preset", "quickstrt"], "did you mean quickstart?"),
        (["new.yaml", "--preset", "demo", "--data", "x"], "--data: preset demo has images of its own, got x"),
        (["new.yaml", "--weights", "x"], "--weights: is for photos that are measured; give --data, and no --preset"),
        (["a/new.yaml", "--data", "x"], "x: must be a folder of images, a manifest or a sweep file"),
        (["my file.yaml", "--data", "."], "my file.yaml: name: without one, that of the file names the run"),
        (["new.yaml", "--data", "taken.yaml"], "taken.yaml: must hold `key: value` lines"),
    ],
)
def test_what_init_cannot_write_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.yaml").write_text("mine")
    assert run(["init", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("taken.yaml", "mine")]


def test_photos_that_are_not_split_are_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("photos/cat", "photos/dog", "split/train/cat", "split/val/cat", "split/test/cat", "odd"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "0.png").write_bytes(b"")

    def said(name: str, folder: str) -> str:
        assert run(["init", f"{name}.yaml", "--preset", "quickstart", "--data", folder]) == 0
        return " ".join(capsys.readouterr().err.split())

    assert "photos is not split: data.split takes 15% for val and 15% for test of each class" in said("a", "photos")
    assert load(tmp_path / "a.yaml").data.split == SplitShares(val=0.15, test=0.15, seed=42, together="near_duplicates")
    assert "split:" not in said("b", "split") + (tmp_path / "b.yaml").read_text()
    (tmp_path / "split" / "val").rename(tmp_path / "split" / ".val")
    assert "split is not split: data.split takes 15% for val of each class" in said("c", "split")
    assert load(tmp_path / "c.yaml").data.split == SplitShares(val=0.15, together="near_duplicates")
    assert "warning: odd: images must lie in one folder per class" in said("d", "odd")
    assert load(tmp_path / "d.yaml").data.split is None


def test_without_a_preset_photos_are_measured(
    tmp_path: Path,
    digits: Path,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = write_weights(tmp_path / "weights")
    for source in digits.rglob("[012]/*.png"):
        target = tmp_path / "photos" / source.parent.name / f"{source.parts[-3]}-{source.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (tmp_path / "photos" / "0" / "bad.png").write_bytes(b"no image")
    assert run(["init", "a/b.yaml", "--data", "photos", "--weights", "weights"]) == 0
    told = capsys.readouterr()
    assert (told.out, "run the sweep:     thaw sweep a/b.yaml" in told.err) == ("", True)
    spec = load(tmp_path / "a" / "b.yaml")
    assert (spec.data.root, spec.data.weights_dir) == (tmp_path / "photos", weights)
    assert spec.data.split == SplitShares(val=0.15, test=0.15, seed=42, together="near_duplicates")
    assert spec.data.on_bad_image == "skip"
    assert spec.space["architecture"] == {"choice": [ARCHITECTURE]}
    assert "bad.png" in (tmp_path / "a" / "b.yaml").read_text()
    check_inputs(spec)


def test_random_weights_are_told_with_the_remedy(
    tmp_path: Path,
    digits: Path,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("trainables.model.build.is_hub_reachable", lambda: False)
    monkeypatch.setattr("orchestrator.planning.measured_data.are_at_hand", lambda _: False)
    assert run(["init", "--data", str(digits)]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "warning: no weights are on this machine, and timm's hub does not answer: sweep.yaml is of the pre" in told
    assert "in place of small-data; name a folder with --weights, or write it again online" in told


@pytest.mark.parametrize(
    ("failure", "code"), [(KeyboardInterrupt(), 130), (InvalidInput("photos: must be read, got none; add some"), 2)]
)
def test_an_init_that_does_not_end_leaves_no_file(
    failure: BaseException,
    code: int,
    tmp_path: Path,
    digits: Path,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("orchestrator.planning.measured_data.measure_data", fail)
    assert run(["init", "a/b.yaml", "--data", str(digits)]) == code
    assert list(tmp_path.iterdir()) == []


def test_the_schema_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == sweep_schema()

"""`thaw data preview`, as people type it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.cli import run
from search_spaces.documents import dump_yaml

DATA = {"image_size": 16, "resize_mode": "squash"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, digits: Path, **sections: object) -> Path:
    path.write_text(dump_yaml({"data": {"root": str(digits), **DATA}, **sections}))
    return path


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return dict(json.loads(capsys.readouterr().out))


def test_preview_of_a_sweep_and_of_a_trial_are_the_same(here, digits, capsys):
    settings = {"seed": 5, "batch_size": 16, "class_weighting": "effective"}
    sweep = write(here / "sweep.yaml", digits, trial=settings, space={"lr": {"log": [1e-3, 1e-2]}})
    trial = write(here / "trial.yaml", digits, **settings, architecture="resnet18")
    results = []
    for file in (sweep, trial):
        out = here / f"of_{file.stem}.png"
        assert run(["data", "preview", str(file), "--out", str(out), "--format", "json"]) == 0
        document = shown(capsys)
        assert document.pop("picture") == str(out)
        results.append((document, out.read_bytes()))
    assert results[0] == results[1]
    document = results[0][0]
    assert list(document) == ["batches", "batch_size", "classes", "remarks", "bad_images"]
    assert (document["batches"], document["batch_size"]) == (10, 16)
    assert [set(entry) for entry in document["classes"]] == [{"label", "images", "none", "sampler", "weight"}] * 10


def test_preview_needs_no_more_than_data(here, digits, capsys):
    assert run(["data", "preview", str(write(here / "sweep.yaml", digits))]) == 0
    told = capsys.readouterr()
    assert "training images" in told.out
    assert "wrote preview.png" in told.err
    with Image.open(here / "preview.png") as picture:
        assert picture.format == "PNG"


def test_preview_decodes_into_the_sweeps_own_cache(here, digits):
    file = write(here / "sweep.yaml", digits, storage={"cache_dir": "own"})
    assert run(["data", "preview", str(file)]) == 0
    assert any((here / "own").iterdir())


def test_no_photo_is_replaced_and_none_added(here, digits, capsys):
    photo = next(path for path in sorted(digits.rglob("*.png")) if "train" in path.parts)
    before = {path: path.read_bytes() for path in digits.rglob("*.png")}
    (here / "links").symlink_to(digits)
    file = write(here / "sweep.yaml", digits)
    for out in (photo, digits / "new.png", here / "links" / "new.png"):
        assert run(["data", "preview", str(file), "--out", str(out)]) == 2
        assert "--out: must lie outside of the data in" in " ".join(capsys.readouterr().err.split())
    rows = [f"{path.relative_to(digits)},{path.parent.name},{path.parent.parent.name}" for path in before]
    (here / "m.csv").write_text("\n".join(["path,label,split", *rows]))
    listed = ["data", "preview", str(file), "--set", f"data.manifest={here / 'm.csv'}", "--out"]
    assert run([*listed, str(photo)]) == 2
    assert "--out: must not be a photo of the data" in " ".join(capsys.readouterr().err.split())
    assert {path: path.read_bytes() for path in digits.rglob("*.png")} == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--set", "data.root=nowhere"], "nowhere"),
        (["--set", "trial.seed=-1"], "sweep.yaml: trial.seed: "),
        (
            ["--set", "data.image_sise=20"],
            "sweep.yaml: data.image_sise: unknown key; did you mean image_size or max_pixels?",
        ),
        (["--set", "trial=5"], "sweep.yaml: trial: must be a section, got 5"),
        (
            ["--set", "storage.cache=5"],
            "sweep.yaml: storage.cache: unknown key; did you mean cache_dir or cache_budget?",
        ),
        (["--out", "preview.jpg"], "--out: must be a PNG file, got preview.jpg"),
        (["--out", "sweep.yaml/preview.png"], "--out: must be writable, got sweep.yaml/preview.png: "),
    ],
)
def test_preview_refuses_what_it_cannot_use(overrides, message, here, digits, capsys):
    file = write(here / "sweep.yaml", digits, trial={"seed": 1})
    assert run(["data", "preview", str(file), *overrides]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in " ".join(told.err.split())
    assert [path.name for path in here.iterdir()] == ["sweep.yaml"]

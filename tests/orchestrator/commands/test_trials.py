"""`thaw explain` and `thaw import-config`, and what `thaw trial` refuses; it trains in `tests/integration`."""

import json
from pathlib import Path

import pytest
import torch

from orchestrator.cli import run
from orchestrator.spec.loading import load_trial
from search_spaces.documents import dump_yaml
from trainables.model.build import bare_model

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path, digits: Path) -> str:
    settings = {"architecture": "test_efficientnet", "strategy": "progressive", "unfreeze_epoch": 1, "epochs": 3}
    path = tmp_path / "trial.yaml"
    data = {"root": str(digits), "image_size": 32}
    path.write_text(dump_yaml({"data": data, "lr": 1e-3, "batch_size": 32, **settings}))
    return str(path)


def test_a_trial_is_explained_without_weights_or_training(file: str, capsys: Capture) -> None:
    assert run(["explain", file, "--format", "json"]) == 0
    phases = json.loads(capsys.readouterr().out)
    assert [phase["stages"] for phase in phases] == [0, "all", "all"]
    assert phases[0]["parameters"] < phases[1]["parameters"]
    assert run(["explain", file, "--set", "scheduler=plateau"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(f"test_efficientnet, progressive: {phases[1]['parameters']:,} parameters, 12 steps")
    assert "norm_stats: batch, head_init: random, decay_to: zero" in text
    assert "the plateau scheduler lowers these rates by what it measures" in text


def test_a_file_with_a_wrong_setting_is_refused(file: str, capsys: Capture) -> None:
    for command in ("explain", "trial"):
        assert run([command, file, "--set", "epohcs=3"]) == 2
        assert "trial.yaml: epohcs: unknown key; did you mean epochs or" in capsys.readouterr().err


def test_a_trial_needs_a_folder_of_its_own(file: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").touch()
    for out, message in (("taken", "must be a new folder, but it is not empty"), ("trial.yaml", "but it is a file")):
        assert run(["trial", file, "--out", str(tmp_path / out)]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_weights_by_order_are_measured_before_the_first_epoch(file: str, tmp_path: Path, capsys: Capture) -> None:
    weights, out = tmp_path / "w.pth", tmp_path / "out"
    tensors = bare_model("test_efficientnet", 10, seed=9).state_dict().values()
    torch.save({f"{number}": tensor for number, tensor in enumerate(tensors)}, weights)
    changes = [f"weights={weights}", "weights_layout=by_order"]
    assert run(["trial", file, "--out", str(out), *(word for change in changes for word in ("--set", change))]) == 2
    assert "needs weights that beat random ones on a linear probe" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_an_old_configuration_becomes_a_trial_s_file_and_nothing_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    old = {"data_dir": "photos", "model_name": "resnet18", "num_epochs": 3, "learning_rate": 0.001, "colour": "blue"}
    Path("old.json").write_text(json.dumps(old))
    assert run(["import-config", "old.json"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "wrote trial.yaml; run it: thaw trial trial.yaml" in told
    assert "not understood" in told and "colour" in told
    config = load_trial(Path("trial.yaml"))
    assert (config.architecture, config.epochs, config.lr) == ("resnet18", 3, 0.001)

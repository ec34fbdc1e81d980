"""Tables and artifacts in the offline files that the client writes, read by their framing alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from tracker_files import wandb_records, wandb_values

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Wandb
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.loop.checkpoint import save_checkpoint
from trainables.model.build import bare_model
from trainables.model.freeze import frozen_digest
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]
UID = "0123456789ab"


@pytest.fixture
def run(empty_run: RunFolder, trial: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunFolder:
    """A run whose trial 0001 has won; its files are there."""
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    ledger = Ledger(empty_run)
    ledger.update_run(uid=UID)
    ledger.write_trial(trial("0000", [0.5], Status.PRUNED))
    ledger.write_trial(trial("0001", [0.5, 0.75, 0.625], Status.COMPLETED))
    for name in ("0000", "0001"):
        empty_run.here(empty_run.best(name)).mkdir(parents=True)
        (empty_run.here(empty_run.best(name)) / "weights.safetensors").write_bytes(name.encode())
        predictions = empty_run.here(empty_run.predictions(name))
        predictions.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"label": ["a", "a", "b"], "predicted": ["a", "b", "b"]}), predictions)
    return empty_run


def exported(run: RunFolder, trial_id: str) -> None:
    folder = run.here(run.export)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"model")
    (folder / "parity.json").write_text('{"images": 3, "same_label": 3}')
    (folder / "export.json").write_text(json.dumps({"trial_id": trial_id}))
    (folder / ".export-left").mkdir()


def records(run: RunFolder, name: str) -> list[Any]:
    files = sorted(run.wandb.glob(f"offline-run-*/run-{UID}-{name}.wandb"))
    return [record for file in files for record in wandb_records(file)]


def artifacts(run: RunFolder, name: str) -> dict[str, tuple[str, list[str], list[str]]]:
    """Type, aliases and files of the artifacts of a run, by name; without those of tables."""
    found = {}
    for record in records(run, name):
        if record.HasField("artifact") and record.artifact.type != "run_table":
            given = record.artifact
            used = ["used"] if given.use_after_commit else []
            found[given.name] = (given.type, used or sorted(given.aliases), [c.path for c in given.manifest.contents])
    return found


def publish(run: RunFolder, **settings: Any) -> None:
    WandbTracker(Wandb(mode="offline", **settings)).publish(SweepSummary.from_run(run))


def live(run: RunFolder, **settings: Any) -> None:
    with Dispatcher([WandbTracker(Wandb(mode="offline", **settings))], SweepIdentity.of(run), run) as dispatcher:
        for result in Ledger(run).trials():
            dispatcher.on_trial(result)
    assert dispatcher.close() == ()


def test_a_trial_ends_with_its_best_epoch_and_its_scores_by_class(run: RunFolder) -> None:
    live(run)
    summary: dict[str, Any] = {}
    for record in records(run, "0001"):
        if record.HasField("summary"):
            summary |= wandb_values(record.summary.update)
    assert (summary["val/macro_f1"], summary["epoch"], summary["status"]) == (0.75, 2, "COMPLETED")
    assert not [name for name in summary if name.startswith("best/")]
    tables = {name: value for name, value in summary.items() if isinstance(value, dict) and "artifact_path" in value}
    assert {"val/classes", "val/confusion_matrix"} <= tables.keys()
    (file,) = run.wandb.glob(f"offline-run-*-{UID}-0001/files/media/table/val/confusion_matrix*.json")
    table = json.loads(file.read_text())
    assert table["columns"] == ["Actual", "Predicted", "nPredictions"]
    assert table["data"] == [["a", "a", 1], ["a", "b", 1], ["b", "b", 1]]
    assert artifacts(run, "0001") == {}, "weights are kept where that is asked for"


def test_weights_of_all_trials_are_kept_where_that_is_asked_for(run: RunFolder) -> None:
    live(run, log_model="all")
    for name in ("0000", "0001"):
        weights = {f"small-{UID}-weights": ("model", sorted([name, "latest"]), ["weights.safetensors"])}
        assert artifacts(run, name) == weights


def test_weights_are_kept_whole_where_the_checkpoint_holds_only_what_was_trained(
    run: RunFolder, digits: Path, tmp_path: Path
) -> None:
    start = bare_model("test_efficientnet", 3)
    save_file(start.state_dict(), tmp_path / "start.safetensors")
    settings = {"architecture": "test_efficientnet", "weights": str(tmp_path / "start.safetensors"), "strategy": "head"}
    data = {"root": digits, "image_size": 32}
    config = TrialConfig.model_validate({"data": data, **settings, "epochs": 1, "lr": 1e-3})
    known = {"config": config, "classes": ("a", "b", "c"), "fingerprint": "f", "mean": (0, 0, 0), "std": (1, 1, 1)}
    head = {"classifier.weight": torch.ones(3, 256), "classifier.bias": torch.ones(3)}
    digest = frozen_digest(start.state_dict(), head.keys(), {})
    state = CheckpointState(**known, reports=(), frozen_digest=digest)
    best = run.here(run.best("0001"))
    save_checkpoint(best, head, state)
    live(run, log_model="all")
    ((_, _, files),) = artifacts(run, "0001").values()
    assert files == ["model.safetensors", "state.json"]
    (record,) = (each for each in records(run, "0001") if each.HasField("artifact") and each.artifact.type == "model")
    (sent,) = (each for each in record.artifact.manifest.contents if each.path == "model.safetensors")
    whole = load_file(sent.local_path)
    torch.testing.assert_close(whole, {**start.state_dict(), **head}, rtol=0, atol=0)
    assert CheckpointState.read(best) == state, "the run keeps the small one"
    assert set(load_file(best / "model.safetensors")) == head.keys()


@pytest.mark.parametrize("kept", ["none", "winner", "all"])
def test_the_winner_is_kept_and_an_export_comes_from_it(run: RunFolder, kept: str) -> None:
    publish(run, log_model=kept)
    weights = {f"small-{UID}-weights": ("model", ["0001", "latest", "winner"], ["weights.safetensors"])}
    assert artifacts(run, "0001") == ({} if kept == "none" else weights)
    assert records(run, "export") == []
    exported(run, "0001")
    publish(run, log_model=kept)
    source = {f"small-{UID}-record-0001": ("trial", ["0001", "latest", "winner"], ["trial.json"])}
    assert artifacts(run, "0001") == (source if kept == "none" else weights)
    model = artifacts(run, "export")[f"small-{UID}-model"]
    assert model == ("model", sorted([UID, "latest", "winner"]), ["export.json", "model.onnx", "parity.json"])


def test_an_export_of_an_earlier_winner_is_not_said_to_come_from_this_one(run: RunFolder) -> None:
    exported(run, "0000")
    publish(run)
    assert list(artifacts(run, "export")) == [f"small-{UID}-model"]
    assert artifacts(run, "0001") == {}
    (config,) = [record.run.config for record in records(run, "export") if record.HasField("run")]
    assert wandb_values(config.update)["trial"] == "0000"


def test_publishing_again_leaves_one_summary_that_was_not_sent(run: RunFolder) -> None:
    exported(run, "0001")
    for _ in range(3):
        publish(run)
    for name in ("sweep", "export"):
        assert len([*run.wandb.glob(f"offline-run-*-{UID}-{name}")]) == 1

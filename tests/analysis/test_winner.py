import json
from pathlib import Path

import pytest
from run_records import run_record, trial

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from analysis.winner import (
    MODEL_ONNX,
    RETRAIN_JSON,
    exported_model,
    retrain_record,
    retraining_digest,
    stale_export_remark,
    unconfirmed_remark,
    weights_origin,
)
from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.result import TrialResult
from trainables.status import Status


@pytest.fixture
def winner() -> TrialResult:
    config = {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 1, "lr": 0.1}
    settings = TrialConfig.from_mapping(config, "test")
    return TrialResult(trial_id="0007", config=settings, parameters={}, status=Status.COMPLETED)


def test_a_record_counts_for_the_trial_that_was_retrained(tmp_path: Path, winner: TrialResult) -> None:
    run = RunFolder(tmp_path)
    assert retrain_record(run, winner) is None
    record = {"trial_id": "0007", "test": {"split": "test"}}
    (tmp_path / "winner").mkdir()
    (tmp_path / "winner" / RETRAIN_JSON).write_text(json.dumps(record))
    assert retrain_record(run, winner) == record
    assert retrain_record(run, winner.model_copy(update={"trial_id": "0008"})) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"null", b"{}", b'{"trial_id": 7, "test": {}}', b'{"trial_id": "0007"}', b"[" * 5000],
    ids=range(9),
)
def test_a_damaged_record_is_named_with_the_remedy(content: bytes, tmp_path: Path, winner: TrialResult) -> None:
    run = RunFolder(tmp_path / "my run")
    (tmp_path / "my run" / "winner").mkdir(parents=True)
    (tmp_path / "my run" / "winner" / RETRAIN_JSON).write_bytes(content)
    with pytest.raises(InvalidInput, match=r"winner/retrain.json: must .*: thaw retrain '.*/my run'"):
        retrain_record(run, winner)


def test_a_model_is_there_after_the_export(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert exported_model(run) is None
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / MODEL_ONNX).write_text("")
    assert exported_model(run) == tmp_path / "export" / "model.onnx"
    assert exported_model(run, "0007") is None
    (tmp_path / "exports" / "0007").mkdir(parents=True)
    (tmp_path / "exports" / "0007" / MODEL_ONNX).write_text("")
    assert exported_model(run, "0007") == tmp_path / "exports" / "0007" / "model.onnx"


@pytest.fixture
def searched(tmp_path: Path) -> RunFolder:
    """A run of two trials, the second one better."""
    run = RunFolder(tmp_path / "run")
    Ledger(run).write_run(run_record())
    for number in range(2):
        Ledger(run).write_trial(trial(number, epochs=number + 1, status=Status.COMPLETED))
    return run


def write_record(path: Path, **record: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record))


def test_an_export_is_of_the_winner_as_it_was_then(searched: RunFolder) -> None:
    winner = Ledger(searched).read_trial("0001")

    def export() -> None:
        digest = retraining_digest(searched, winner)
        told = {"trial_id": "0001", "origin": weights_origin(searched, winner), "retraining": digest}
        write_record(searched.export / "export.json", **told)

    assert stale_export_remark(searched) is None
    export()
    assert stale_export_remark(searched) is None
    write_record(searched.winner / RETRAIN_JSON, trial_id="0001", test={}, on="train+val")
    assert stale_export_remark(searched) == (
        "the exported model is trial 0001, as trained in the sweep, but the winner is trial 0001, retrained on "
        f"train+val; export it: `thaw export {searched.root}`"
    )
    export()
    assert stale_export_remark(searched) is None
    write_record(searched.winner / RETRAIN_JSON, trial_id="0001", test={}, on="train+val", reports=[1])
    assert "is trial 0001, retrained on train+val, once more since; export" in str(stale_export_remark(searched))
    write_record(searched.winner / RETRAIN_JSON, trial_id="0000", test={}, is_chosen=True)
    assert "but the winner is trial 0000, retrained; export" in str(stale_export_remark(searched))


def test_a_choice_by_hand_is_named_with_the_trial_that_it_displaces(searched: RunFolder) -> None:
    assert unconfirmed_remark(searched) is None
    write_record(searched.winner / RETRAIN_JSON, trial_id="0000", test={}, is_chosen=True)
    assert unconfirmed_remark(searched) == (
        "trial 0000 was chosen by hand and is the winner; without that it would be 0001. "
        f"`thaw retrain {searched.root} --trial 0001` takes that one"
    )
    write_record(searched.winner / RETRAIN_JSON, trial_id="0001", test={}, is_chosen=True)
    assert unconfirmed_remark(searched) is None

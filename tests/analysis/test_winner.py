import json
from pathlib import Path

import pytest

from analysis.run_folder import RunFolder
from analysis.winner import MODEL_ONNX, RETRAIN_JSON, exported_model, retrain_record
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

"""Winner on disk: the record of its retraining and its exported model. Light to import: no torch, no pandas."""

import json
from pathlib import Path
from typing import Any

from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from search_spaces.permissions import check_readable
from trainables.result import TrialResult
from trainables.storage.place import Place

RETRAIN_JSON = "retrain.json"
MODEL_ONNX = "model.onnx"


def retrain_record(run: RunFolder, winner: TrialResult) -> dict[str, Any] | None:
    """Return the record of retraining `winner`, with `trial_id` and `test`; None unless `winner` was retrained."""
    path = run.winner / RETRAIN_JSON
    if isinstance(path, Path):
        check_readable(path)
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    return record if record["trial_id"] == winner.trial_id else None


def exported_model(run: RunFolder) -> Place | None:
    """Return the ONNX model of the run; None before the first export."""
    model = run.export / MODEL_ONNX
    return model if RunStore(run).has(model) else None

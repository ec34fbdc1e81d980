"""Winner on disk: the record of its retraining and its exported model. Light to import: no torch, no pandas."""

import json
from pathlib import Path
from typing import Any

from analysis.comparisons.confirmation import confirmed_winner, read_confirmation
from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from search_spaces.errors import InvalidInput, shown
from search_spaces.permissions import check_readable
from search_spaces.shell import thaw_command
from search_spaces.user_files import RECORD
from trainables.bundle.variant import BENCHMARK_FILE, RECORD_FILE
from trainables.result import TrialResult
from trainables.storage.place import Place, read_place

RETRAIN_JSON = "retrain.json"
MODEL_ONNX = "model.onnx"


def run_winner(run: RunFolder) -> TrialResult:
    """Return the trial that a run hands on: one that a user chose to retrain, else the best finalist, else rank 1.

    Raises InvalidInput where no trial is COMPLETED, and for a record that cannot be used.
    """
    record = _retrain_record(run)
    if record is not None and record.get("is_chosen"):
        return Ledger(run).read_trial(record["trial_id"])
    return confirmed_winner(run)


def unconfirmed_remark(run: RunFolder) -> str | None:
    """Return a sentence where the first of the leaderboard is not the winner since it was never confirmed; else None.

    Raises InvalidInput as `run_winner` does.
    """
    winner, first = run_winner(run), Leaderboard.from_run(run).winner()
    found = read_confirmation(run)
    record = _retrain_record(run)
    is_chosen = record is not None and record.get("is_chosen")
    if is_chosen or found is None or not found.verdict or first.trial_id in found.tried:
        return None
    return (
        f"trial {first.trial_id} now leads the leaderboard but was not confirmed; the winner is still finalist "
        f"{winner.trial_id}. Run `{thaw_command('confirm', run.root)}` to include {first.trial_id}"
    )


def retrain_record(run: RunFolder, winner: TrialResult) -> dict[str, Any] | None:
    """Return the record of retraining `winner`, with `trial_id` and `test`; None unless `winner` was retrained.

    Raises InvalidInput, naming the file, for a record that cannot be used.
    """
    record = _retrain_record(run)
    return record if record is not None and record["trial_id"] == winner.trial_id else None


def _retrain_record(run: RunFolder) -> dict[str, Any] | None:
    path = run.winner / RETRAIN_JSON
    if isinstance(path, Path):
        check_readable(path)
    if not path.is_file():
        return None
    try:
        record = json.loads(read_place(path, RECORD))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: must be a readable JSON file, got: {error}; {_remedy(run)}") from None
    if not isinstance(record, dict) or not isinstance(record.get("trial_id"), str) or "test" not in record:
        raise InvalidInput(f"{path}: must hold `trial_id` and `test`, got {shown(record)}; {_remedy(run)}")
    return record


def retrained_trial(run: RunFolder, winner: TrialResult) -> TrialResult | None:
    """Return the retraining of `winner` as a trial; None without one, or where an older version has not kept it."""
    record, names = retrain_record(run, winner), ("status", "config", "reports")
    if record is None or any(name not in record for name in names):
        return None
    return TrialResult(trial_id="retrain", parameters=winner.parameters, **{name: record[name] for name in names})


def _remedy(run: RunFolder) -> str:
    return f"restore the file, or retrain the winner: {thaw_command('retrain', run.root)}"


def ensemble_name(count: int) -> str:
    """Return the name below RUN/exports of the vote of the best `count` trials."""
    return f"ensemble-{count}"


def exported_model(run: RunFolder, trial_id: str | None = None) -> Place | None:
    """Return the ONNX model of the run's winner, or of a trial; None before its first export."""
    model = (run.export if trial_id is None else run.exported(trial_id)) / MODEL_ONNX
    return model if RunStore(run).has(model) else None


def exported_trial(run: RunFolder) -> str | None:
    """Return the id of the trial whose model was exported; None before the first export, and where it is not known."""
    trial = _export_record(run).get("trial_id")
    return trial if isinstance(trial, str) else None


def exported_calibration(run: RunFolder) -> dict[str, Any] | None:
    """Return what the export has found of its probabilities, see `trainables.task.calibration`; None where unknown."""
    found = _export_record(run).get("calibration")
    return found if isinstance(found, dict) else None


def measured_cost(run: RunFolder) -> list[dict[str, Any]]:
    """Return what `thaw benchmark` has measured of the exported winner; nothing before that."""
    found = _record_of_export(run, BENCHMARK_FILE).get("measurements")
    return found if isinstance(found, list) else []


def _export_record(run: RunFolder) -> dict[str, Any]:
    return _record_of_export(run, RECORD_FILE)


def _record_of_export(run: RunFolder, name: str) -> dict[str, Any]:
    path = run.export / name
    try:
        record = json.loads(read_place(path, RECORD)) if path.is_file() else None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{path}: must be a readable JSON file, got: {error}; export again: {thaw_command('export', run.root)}"
        ) from None
    return record if isinstance(record, dict) else {}

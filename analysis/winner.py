"""Winner on disk: the record of its retraining and its exported model. Light to import: no torch, no pandas."""

import json
from hashlib import sha256
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
from trainables.data_config import TrainedOn
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


def is_chosen(run: RunFolder) -> bool:
    """Return whether a user has put a trial in the winner's place. Raises InvalidInput as `run_winner` does."""
    record = _retrain_record(run)
    return record is not None and bool(record.get("is_chosen"))


def unconfirmed_remark(run: RunFolder) -> str | None:
    """Return a sentence where the winner is not the trial that leaderboard or confirmation recommend now; else None.

    Raises InvalidInput as `run_winner` does.
    """
    winner, first = run_winner(run), Leaderboard.from_run(run).winner()
    if is_chosen(run):
        best = confirmed_winner(run)
        if best.trial_id == winner.trial_id:
            return None
        return (
            f"trial {winner.trial_id} was chosen by hand and is the winner; without that it would be {best.trial_id}. "
            f"`{thaw_command('retrain', run.root, '--trial', best.trial_id)}` takes that one"
        )
    found = read_confirmation(run)
    if found is None or not found.verdict or first.trial_id in found.tried:
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


def weights_origin(run: RunFolder, winner: TrialResult) -> str:
    """Return a phrase for the source of the winner's weights: its retraining where there is one, else the sweep.

    Raises InvalidInput as `retrain_record` does.
    """
    record = retrain_record(run, winner)
    if record is None:
        return f"trial {winner.trial_id}, as trained in the sweep"
    on = " on train+val" if record.get("on") == TrainedOn.TRAIN_AND_VAL else ""
    return f"trial {winner.trial_id}, retrained{on}"


def retraining_digest(run: RunFolder, winner: TrialResult) -> str | None:
    """Return a digest of the winner's retraining, which is another one after the next; None without one.

    Raises InvalidInput as `retrain_record` does.
    """
    record = retrain_record(run, winner)
    return None if record is None else sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def stale_export_remark(run: RunFolder) -> str | None:
    """Return a sentence where RUN/export is not of the winner as it is now; None where it is, and before an export.

    Raises InvalidInput for a record that cannot be used, and where no trial is COMPLETED.
    """
    record = _export_record(run)
    if not isinstance(trial_id := record.get("trial_id"), str):
        return None
    winner = run_winner(run)
    now, digest = weights_origin(run, winner), retraining_digest(run, winner)
    origin = record.get("origin", now if trial_id == winner.trial_id else f"trial {trial_id}")
    if origin == now and record.get("retraining", digest) == digest:
        return None
    newer = ", once more since" if origin == now else ""
    return (
        f"the exported model is {origin}, but the winner is {now}{newer}; export it: "
        f"`{thaw_command('export', run.root)}`"
    )


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

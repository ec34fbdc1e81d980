import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from analysis.winner import RETRAIN_JSON, weights_origin
from orchestrator.results.export import _portable, export_winner, winner_weights
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


@pytest.fixture
def run(tmp_path: Path, small_spec: Callable[..., SweepSpec]) -> RunFolder:
    """A run without a trial."""
    folder, spec = RunFolder(tmp_path / "runs" / "small"), small_spec()
    record: dict[str, Any] = {"distributions": {}, "fingerprint": "", "sample_counts": {}, "versions": {}}
    created = datetime(2026, 1, 1, tzinfo=UTC)
    Ledger(folder).write_run(
        RunRecord(
            **record,
            name=spec.name,
            objective=spec.objective,
            space=spec.space,
            created=created,
            classes=("a", "b"),
            trials_planned=2,
        )
    )
    folder.sweep_yaml.write_text(spec.to_yaml())
    return folder


def test_without_a_completed_trial_nothing_is_done(run: RunFolder, trial: Trial) -> None:
    Ledger(run).write_trial(trial("0000", [0.5], Status.PRUNED))
    with pytest.raises(InvalidInput, match=r"no trial of .* is COMPLETED, got 1 PRUNED"):
        export_winner(run.root)
    assert not run.export.exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="a run must be an existing folder"):
        export_winner(tmp_path / "none")


def test_the_retrained_weights_are_exported_only_while_their_trial_is_the_winner(run: RunFolder, trial: Trial) -> None:
    first, second = trial("0000", [0.5], Status.COMPLETED), trial("0001", [0.6], Status.COMPLETED)
    for name in ("0000", "0001"):
        run.best(name).mkdir(parents=True)
        (run.best(name) / "state.json").touch()

    def found(winner: TrialResult) -> tuple[Path, str]:
        with winner_weights(run, winner) as folder:
            return folder, weights_origin(run, winner)

    assert found(first) == (run.best("0000"), "trial 0000, as trained in the sweep")
    run.winner.mkdir()
    (run.winner / RETRAIN_JSON).write_text(json.dumps({"trial_id": "0000", "test": {}}))
    assert found(first) == (run.winner / "checkpoints" / "best", "trial 0000, retrained")
    assert found(second)[0] == run.best("0001")


def test_a_configuration_that_travels_names_no_folder_of_this_machine(trial: Trial) -> None:
    data = {"root": "/home/ada/photos", "manifest": "/home/ada/m.csv", "weights_dir": "/home/ada/w", "image_size": 96}
    config = trial("0000", data=data).config.to_json()
    portable = _portable(config)
    assert "/home/ada" not in json.dumps(portable)
    usual = {"train_on": "train", "test": "auto", "resize_mode": "crop", "on_bad_image": "fail"}
    usual |= {"format": "auto", "allow": []}
    assert portable["data"] == {**usual, "max_pixels": 89_478_485, "image_size": 96}
    assert {**portable, "data": None} == {**config, "data": None}

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.leaderboard import Leaderboard
from analysis.run_folder import RunFolder
from orchestrator.spec.sections import TensorBoard
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tensorboard_tracker import TensorBoardTracker
from orchestrator.tracking.tracker import TrialContext
from trainables.config import Objective
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]
REPORT = EpochReport(epoch=1, metrics={"val/macro_f1": 0.5}, seconds=2.0, checkpoint="best")


def context(trial: TrialResult, folder: Path) -> TrialContext:
    return TrialContext(
        SweepIdentity("digits"), RunFolder(folder), trial.trial_id, "trial", trial.config, trial.parameters
    )


def events(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("events.*")))


@pytest.mark.parametrize(("folder", "where"), [(None, "run/tensorboard/0007"), ("all", "all/digits/0007")])
def test_a_trial_has_a_folder_of_its_own(trial: Trial, tmp_path: Path, folder: str | None, where: str) -> None:
    tracker = TensorBoardTracker(TensorBoard(folder=None if folder is None else tmp_path / folder))
    parameters = {"lr": 0.01, "balance": "none", "channels_last": True}
    run = tracker.start(context(trial("0007", parameters=parameters), tmp_path / "run"))
    run.log(REPORT)
    run.finish(Status.COMPLETED, {"best/val/macro_f1": 0.5})
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("events.*")] == [
        next(path for path in (tmp_path / where).iterdir()).relative_to(tmp_path).as_posix()
    ]
    for text in (b"time/epoch_s", b"COMPLETED", b"hparams", b"balance", b"channels_last", b"best/val/macro_f1"):
        assert text in events(tmp_path / where), text


def test_files_of_one_second_do_not_overwrite_each_other(trial: Trial, tmp_path: Path) -> None:
    tracker = TensorBoardTracker(TensorBoard())
    for status in (Status.INTERRUPTED, Status.INTERRUPTED, Status.COMPLETED):
        tracker.start(context(trial("0007"), tmp_path)).finish(status, {})
    files = sorted(path.name for path in (tmp_path / "tensorboard" / "0007").iterdir())
    assert [re.sub(r".*\.", "", name) for name in files] == ["0", "1", "2"]


def test_an_interrupted_trial_has_no_line_among_the_finished_ones(trial: Trial, tmp_path: Path) -> None:
    TensorBoardTracker(TensorBoard()).start(context(trial("0007"), tmp_path)).finish(Status.INTERRUPTED, {})
    assert b"hparams" not in events(tmp_path / "tensorboard" / "0007")


def test_the_leaderboard_is_a_table_whatever_stands_in_its_cells(trial: Trial, tmp_path: Path) -> None:
    odd = trial("0000", [0.5], Status.COMPLETED, {"weights": "a|b\nc", "lr": 0.01})
    board = Leaderboard.from_trials(Objective(), [odd, trial("0001", [], Status.FAILED, {"lr": 0.1})])
    TensorBoardTracker(TensorBoard()).publish(SweepSummary(SweepIdentity("digits"), RunFolder(tmp_path), board))
    text = events(tmp_path / "tensorboard" / "sweep").decode(errors="ignore")
    assert "| rank | trial\\_id | status | objective | epoch | epochs | seconds | lr | weights |" in text
    assert "| 1 | 0000 | COMPLETED | 0.5 | 1 | 1 | 1.5 | 0.01 | a\\|b c |" in text
    assert "|  | 0001 | FAILED |  |  | 0 | 0 | 0.1 |  |" in text

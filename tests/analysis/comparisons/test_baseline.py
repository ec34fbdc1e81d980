"""The winner against the best linear probe, from predictions on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_records import run_record, trial

from analysis.comparisons.baseline import baseline
from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, probe_id
from trainables.config import Objective
from trainables.status import Status

IMAGES = 400
LABELS = np.array(["a", "b"] * (IMAGES // 2))

Write = Callable[..., RunFolder]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A run whose winner and probe are wrong on so many photos, the winner on the first ones, the probe on the last."""

    def make(winner: int | None, probe: int | None, *, order: int = 1, score: float | None = 0.8) -> RunFolder:
        run = RunFolder(tmp_path / "run")
        scores = {} if score is None else {"vgg16": score - 0.1, "resnet18": score, "resnet34": score - 0.2}
        Ledger(run).write_run(run_record(probe=scores))
        Ledger(run).write_trial(trial(7, 9, Status.COMPLETED))
        for name, wrong, step in (("0007", winner, 1), (probe_id("resnet18"), probe, order)):
            if wrong is None:
                continue
            predicted = np.where(LABELS == "a", "b", "a")
            predicted = np.where(np.arange(IMAGES) < wrong, predicted, LABELS)
            path = run.predictions(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            paths = [f"{index:04}.jpg" for index in range(IMAGES)]
            columns = {"path": paths[::step], "label": LABELS[::step], "predicted": predicted[::step]}
            pq.write_table(pa.table(columns), path)
        return run

    return make


@pytest.mark.parametrize(("ours", "theirs", "beaten"), [(20, 80, True), (40, 42, False), (80, 20, False)])
def test_the_interval_says_whether_the_probe_is_beaten(ours: int, theirs: int, beaten: bool, write: Write) -> None:
    run = write(ours, theirs)
    found = baseline(run, Leaderboard.from_run(run))
    assert found is not None
    assert found.is_beaten is beaten
    assert found.images == IMAGES
    assert (found.architecture, found.probe) == ("resnet18", 0.8)
    assert found.difference.value == pytest.approx((theirs - ours) / IMAGES, abs=0.01)
    assert found.difference.interval.low < found.difference.value < found.difference.interval.high


@pytest.mark.parametrize(
    "case", ["no probe", "no predictions", "damaged", "other columns", "other photos", "another metric"]
)
def test_what_cannot_be_compared_is_not(case: str, write: Write) -> None:
    match case:
        case "no probe":
            run = write(20, 80, score=None)
        case "no predictions":
            run = write(20, None)
        case "damaged":
            run = write(20, 80)
            run.predictions(probe_id("resnet18")).write_bytes(b"PAR1 and no more")
        case "other columns":
            run = write(20, 80)
            pq.write_table(pa.table({"path": ["a"]}), run.predictions(probe_id("resnet18")))
        case "other photos":
            run = write(20, 80, order=-1)
        case _:
            run = write(20, 80)
            Ledger(run).update_run(objective=Objective(metric="val/loss"))
            metrics = {"val/loss": 0.5}
            reports = tuple(report.model_copy(update={"metrics": metrics}) for report in trial(7, 9).reports)
            ended = trial(7, 9, Status.COMPLETED).model_copy(update={"reports": reports})
            Ledger(run).write_trial(ended)
    assert baseline(run, Leaderboard.from_run(run)) is None


def test_an_architecture_of_the_hub_has_a_file_too() -> None:
    assert "/" not in probe_id("hf-hub:timm/resnet18.a1_in1k")
    assert RunFolder(Path("run")).predictions(probe_id("hf-hub:timm/resnet18.a1_in1k")).parent.name == "predictions"

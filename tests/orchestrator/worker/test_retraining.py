"""Files of a retraining: in a folder and in a bucket, from one node to the next."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.run_store import RunStore
from orchestrator.spec.sections import Resources
from orchestrator.worker.retraining import Retraining, begin_retraining, discard_retraining, measure_retraining
from trainables.loop import checkpoint
from trainables.result import TrialResult
from trainables.status import Status
from trainables.storage.place import Place, as_place


@pytest.fixture
def assign(trial: Callable[..., TrialResult], digits: Path, cache_dir: Path) -> Callable[..., Retraining]:
    """The retraining of a small model in a run."""

    def make(run: Place, cache: Path = cache_dir, **fields: Any) -> Retraining:
        data = {"root": digits, "image_size": 32, "resize_mode": "squash"}
        settings = {"architecture": "test_efficientnet", "weights": "none", "batch_size": 128, "epochs": 2}
        retrained = trial("retrain", [], Status.RUNNING, data=data, **settings)
        return Retraining(trial=retrained, run=run, cache=cache, resources=Resources(), **fields)

    return make


def test_it_writes_beside_the_winner_of_a_run_in_a_folder(assign: Callable[..., Retraining], tmp_path: Path) -> None:
    assignment = assign(tmp_path)
    assert assignment.here == assignment.place == tmp_path / ".winner.new"
    assert assignment.model_copy(update={"rank": 1}).here == assignment.here, "each rank reads one checkpoint"
    assert [place.relative_to(tmp_path / ".winner.new") for place in assignment.files] == [
        Path("predictions.parquet"),
        Path("checkpoints/best"),
        Path("checkpoints/last"),
    ]
    assert (assignment.keeps_newest, assign(tmp_path, last_epoch=3).keeps_newest) == (False, True)


def test_in_a_bucket_another_node_continues_from_the_last_epoch(
    assign: Callable[..., Retraining], bucket: str, tmp_path: Path
) -> None:
    run = as_place(f"{bucket}/runs/sweep")
    here, there = (assign(run, tmp_path / node) for node in ("here", "there"))
    for each in (here, there):  # as a rank does
        log = each.run_folder.here(each.run_folder.log("retrain"))
        log.parent.mkdir(parents=True)
        log.write_text("begun\n")
    done, epochs = begin_retraining(here)
    assert (done, next(epochs).epoch) == ((), 1)
    store = RunStore(here.run_folder)
    assert all(store.has(place) for place in here.files)
    epochs.close()
    assert not here.here.exists(), "a node keeps no copy"
    done, epochs = begin_retraining(there)
    assert [report.epoch for report in (*done, *epochs)] == [1, 2]
    assert len(done) == 1
    assert measure_retraining(here, "test").split == "test"
    best = store.fetch(here.files[1])
    assert checkpoint.exists(best)
    discard_retraining(here)
    assert not any(store.has(place) for place in here.files)
    assert not here.here.exists()
    assert here.run_folder.log("retrain").read_text() == "begun\n"

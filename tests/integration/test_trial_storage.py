"""One trial as a worker runs it, without Ray: what it leaves in a bucket, and what it says of a disk that is full."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from orchestrator.spec.sections import Resources, Wandb
from orchestrator.worker.assignment import Assignment, read_answer
from orchestrator.worker.trial_actor import TrialActor
from trainables.config import TrialConfig
from trainables.loop import checkpoint
from trainables.loop.train import train
from trainables.result import Status, TrialResult
from trainables.storage.folders import TrialFolders
from trainables.storage.place import Place, as_place

EPOCHS = 4


@pytest.fixture
def config(digits: Path) -> TrialConfig:
    data = {"root": digits, "image_size": 32, "resize_mode": "squash"}
    quick = {"architecture": "test_efficientnet", "weights": "none", "strategy": "full", "epochs": EPOCHS, "lr": 3e-3}
    return TrialConfig.model_validate({**quick, "seed": 7, "data": data})


@contextmanager
def worker(
    config: TrialConfig, run: Place, cache: Path, known: TrialResult | None = None
) -> Iterator[Callable[[], TrialResult]]:
    """A worker's steps; it ends as by a kill, having cleaned nothing up."""
    trial = known or TrialResult(trial_id="0000", config=config, parameters={}, status=Status.RUNNING)
    assignment = Assignment(
        trial=trial, sweep="sweep", run=run, cache=cache, resources=Resources(), wandb=Wandb(mode="disabled")
    )
    actor = TrialActor(assignment.to_tune())

    def step() -> TrialResult:
        told = read_answer(actor.step())
        assert told is not None
        return told

    yield step
    if actor._handler is not None:
        actor._handler.close()
        logging.getLogger().removeHandler(actor._handler)


def test_a_trial_goes_on_on_another_node_from_what_is_in_the_bucket(
    bucket: str, config: TrialConfig, cache_dir: Path, tmp_path: Path
) -> None:
    root = as_place(f"{bucket}/runs") / "sweep"
    run = RunFolder(root, tmp_path / "one")
    with worker(config, root, tmp_path / "one") as step:
        for epoch in (1, 2):
            assert len(step().reports) == epoch
    store = RunStore(run)
    assert store.has(run.best("0000"))
    assert store.has(run.last("0000"))
    assert store.has(run.predictions("0000"))
    # Written, but killed before it was published: not to be found by anybody, and no harm to who goes on.
    (run.here(run.last("0000")) / "state.json").write_text("{}")

    for cache in (tmp_path / "one", tmp_path / "two"):
        with worker(config, root, cache) as step:
            trial = step()
            assert [report.epoch for report in trial.reports] == list(range(1, len(trial.reports) + 1))
            if cache.name == "two":
                while trial.status is Status.RUNNING:
                    trial = step()
    assert trial.status is Status.COMPLETED
    whole = train(config, TrialFolders(tmp_path / "alone", tmp_path / "alone.parquet", cache_dir))
    assert [report.metrics for report in trial.reports] == [report.metrics for report in whole]
    log = run.log("0000").read_text()
    assert log.count("resumed after epoch") == 2
    assert [f"epoch {epoch}: train/loss" in log for epoch in range(1, EPOCHS + 1)] == [True] * EPOCHS
    with store.reading(run.best("0000")) as folder:
        _, state = checkpoint.load_trained(folder)
    assert trial.best is not None
    assert state.reports == trial.reports[: trial.best.epoch]


def test_a_trial_whose_checkpoint_is_gone_begins_anew_and_says_so(
    config: TrialConfig, cache_dir: Path, tmp_path: Path
) -> None:
    with worker(config, tmp_path / "run", cache_dir) as step:
        known = [step() for _ in range(2)][-1]
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with worker(config, tmp_path / "run", cache_dir, known) as step:
        anew = step()
    assert [report.epoch for report in anew.reports] == [1]
    assert anew.reports[0].metrics == known.reports[0].metrics
    assert "its 2 epochs have left no checkpoint: begun anew" in RunFolder(tmp_path / "run").log("0000").read_text()


def test_a_full_disk_is_no_fault_of_the_trial(
    small_disk: tuple[Path, Callable[[int], None]], config: TrialConfig, cache_dir: Path
) -> None:
    disk, resize = small_disk
    with worker(config, disk / "sweep", cache_dir) as step:
        ended = step()
    assert ended.status is Status.INTERRUPTED
    assert ended.failure is not None
    assert "the disk is full (No space left on device)" in ended.failure.message
    assert "free some space" in ended.failure.message
    resize(100)
    with worker(config, disk / "sweep", cache_dir) as step:
        assert [len(step().reports) for _ in range(EPOCHS)] == list(range(1, EPOCHS + 1))

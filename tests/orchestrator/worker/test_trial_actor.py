"""One trial as a worker runs it, without Ray: its steps, its ends, what it leaves in a bucket and on a full disk."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from orchestrator.spec.sections import Resources
from orchestrator.worker import run_trial, trial_actor
from orchestrator.worker.assignment import Answer, Assignment, EndKind, read_answer
from orchestrator.worker.trial_actor import TrialActor
from orchestrator.worker.worker_group import WorkerLost
from search_spaces.errors import OutOfMemory, StorageFailed, TrialFailed
from trainables.config import TrialConfig
from trainables.loop import checkpoint
from trainables.loop.train import train
from trainables.result import EpochReport, Rung, TrialResult
from trainables.status import Status
from trainables.storage.folders import TrialFolders
from trainables.storage.place import Place, as_place

EPOCHS = 3


@pytest.fixture(autouse=True)
def step_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time of a step; at first each step is one epoch."""

    def set_seconds(seconds: float) -> None:
        monkeypatch.setattr(trial_actor, "STEP_SECONDS", seconds)

    set_seconds(0.0)
    return set_seconds


@pytest.fixture
def config(digits: Path) -> TrialConfig:
    data = {"root": digits, "image_size": 32, "resize_mode": "squash"}
    quick = {"architecture": "test_efficientnet", "weights": "none", "strategy": "full", "epochs": EPOCHS, "lr": 3e-3}
    return TrialConfig.model_validate({**quick, "seed": 7, "data": data})


def assigned(
    config: TrialConfig, run: Place, cache: Path, known: TrialResult | None = None, **settings: Any
) -> dict[str, Any]:
    """Return a trial as Tune hands it to a worker."""
    trial = known or TrialResult(trial_id="0000", config=config, parameters={}, status=Status.RUNNING)
    return Assignment(trial=trial, run=run, cache=cache, resources=Resources(), **settings).to_tune()


def answer(actor: TrialActor) -> Answer:
    found = read_answer(actor.step())
    assert found is not None
    return found


@contextmanager
def worker(
    config: TrialConfig, run: Place, cache: Path, known: TrialResult | None = None
) -> Iterator[Callable[[], Answer]]:
    """A worker's steps; it ends as by a kill, having cleaned nothing up."""
    actor = TrialActor(assigned(config, run, cache, known, metrics_version=1))
    yield lambda: answer(actor)
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
            assert len(step().trial.reports) == epoch
    store = RunStore(run)
    assert store.has(run.best("0000"))
    assert store.has(run.last("0000"))
    assert store.has(run.predictions("0000"))
    # Written, but killed before it was published: not to be found by anybody, and no harm to who goes on.
    (run.here(run.last("0000")) / "state.json").write_text("{}")

    for cache in (tmp_path / "one", tmp_path / "two"):
        with worker(config, root, cache) as step:
            given = step()
            assert [report.epoch for report in given.trial.reports] == list(range(1, len(given.trial.reports) + 1))
            if cache.name == "two":
                while given.end is None:
                    given = step()
    trial = given.trial
    assert given.end is not None
    assert given.end.kind is EndKind.COMPLETED
    whole = train(config, TrialFolders(tmp_path / "alone", tmp_path / "alone.parquet", cache_dir))
    assert [report.metrics for report in trial.reports] == [report.metrics for report in whole]
    log = run.log("0000").read_text()
    assert log.count("resumed after epoch") == 2
    assert [f"epoch {epoch}: train/loss" in log for epoch in range(1, EPOCHS + 1)] == [True] * EPOCHS
    with store.reading(run.best("0000")) as folder:
        _, state = checkpoint.load_trained(folder)
    assert trial.best is not None
    assert state.reports == trial.reports[: trial.best.epoch]
    assert state.metrics_version == 1, "as its run began"


def test_a_trial_whose_checkpoint_is_gone_begins_anew_and_says_so(
    config: TrialConfig, cache_dir: Path, tmp_path: Path
) -> None:
    with worker(config, tmp_path / "run", cache_dir) as step:
        known = [step() for _ in range(2)][-1].trial
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with worker(config, tmp_path / "run", cache_dir, known) as step:
        anew = step().trial
    assert [report.epoch for report in anew.reports] == [1]
    assert anew.reports[0].metrics == known.reports[0].metrics
    assert "its 2 epochs have left no checkpoint: begun anew" in RunFolder(tmp_path / "run").log("0000").read_text()


def test_a_checkpoint_of_another_trial_of_that_number_is_replaced(
    config: TrialConfig, cache_dir: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    with worker(config.model_copy(update={"lr": 1e-3}), run.root, cache_dir) as step:
        step()
    with worker(config, run.root, cache_dir) as step:
        trial = [step() for _ in range(EPOCHS)][-1].trial
    whole = train(config, TrialFolders(tmp_path / "alone", tmp_path / "alone.parquet", cache_dir))
    assert [report.metrics for report in trial.reports] == [report.metrics for report in whole]
    assert "that of another trial, of a driver that had been replaced: begun anew" in run.log("0000").read_text()
    _, best = checkpoint.load_trained(run.best("0000"))
    assert best.config == config


def test_a_full_disk_is_no_fault_of_the_trial(
    small_disk: tuple[Path, Callable[[int], None]], config: TrialConfig, cache_dir: Path
) -> None:
    disk, resize = small_disk
    with worker(config, disk / "sweep", cache_dir) as step:
        end = step().end
    assert end is not None
    assert end.kind is EndKind.STORAGE_FAILED
    assert end.failure is not None
    assert "the disk is full (No space left on device)" in end.failure.message
    assert "free some space" in end.failure.message
    resize(100)
    with worker(config, disk / "sweep", cache_dir) as step:
        assert [len(step().trial.reports) for _ in range(EPOCHS)] == list(range(1, EPOCHS + 1))


def test_a_warm_worker_takes_up_one_trial_after_another(config: TrialConfig, cache_dir: Path, tmp_path: Path) -> None:
    run, handlers = RunFolder(tmp_path / "run"), logging.getLogger().handlers[:]
    short = config.model_copy(update={"epochs": 1})
    actor = TrialActor(assigned(short, run.root, cache_dir))
    assert not run.log("0000").exists(), "a worker that starts late may find that another has run its trial"
    first = answer(actor)
    assert first.end is not None
    assert first.end.kind is EndKind.COMPLETED
    other = TrialResult(trial_id="0001", config=short.model_copy(update={"seed": 8}), parameters={})
    assert actor.reset_config(assigned(short, run.root, cache_dir, other))
    second = answer(actor)
    assert (second.trial.trial_id, len(second.trial.reports)) == ("0001", 1)
    actor.cleanup()
    assert "trial 0001" not in run.log("0000").read_text()
    assert "epoch 1: train/loss" in run.log("0001").read_text()
    assert logging.getLogger().handlers == handlers


def test_a_resumed_trial_shows_what_the_driver_has_not_seen_before_it_trains(
    config: TrialConfig, cache_dir: Path, tmp_path: Path
) -> None:
    with worker(config, tmp_path / "run", cache_dir) as step:
        reports = [step() for _ in range(2)][-1].trial.reports
    actor = TrialActor(assigned(config, tmp_path / "run", cache_dir))
    assert answer(actor).trial.reports == reports
    assert [report.epoch for report in answer(actor).trial.reports] == [1, 2, 3]
    actor.cleanup()


def test_a_step_has_several_short_epochs_up_to_a_rung(
    config: TrialConfig, cache_dir: Path, tmp_path: Path, step_seconds: Callable[[float], None]
) -> None:
    step_seconds(60.0)
    rungs = (Rung(epoch=2, rung=2, judged=True),)
    known = TrialResult(trial_id="0000", config=config, parameters={}, rungs=rungs)
    with worker(config, tmp_path / "run", cache_dir, known) as step:
        first, second = step(), step()
    assert [(len(given.trial.reports), given.end is None) for given in (first, second)] == [(2, True), (3, False)]
    whole = train(config, TrialFolders(tmp_path / "alone", tmp_path / "alone.parquet", cache_dir))
    assert [report.metrics for report in second.trial.reports] == [report.metrics for report in whole]


def test_a_process_that_dies_in_a_step_loses_none_of_its_epochs(
    config: TrialConfig, cache_dir: Path, tmp_path: Path, step_seconds: Callable[[float], None], monkeypatch: Any
) -> None:
    step_seconds(60.0)
    begin, begun_with = run_trial.begin, []

    def dying(assignment: Assignment) -> run_trial.StartedTrial:
        reports, epochs = begin(assignment)
        begun_with.append(len(reports))

        def until_death() -> Iterator[EpochReport]:
            for report in epochs:
                yield report
                if report.epoch == 2:
                    raise WorkerLost("its process has died")

        return reports, until_death()

    monkeypatch.setattr(run_trial, "begin", dying)
    with worker(config, tmp_path / "run", cache_dir) as step, pytest.raises(WorkerLost):
        step()
    with worker(config, tmp_path / "run", cache_dir) as step:
        assert len(step().trial.reports) == 2, "the driver counts deaths per epoch: it has to know of these first"
        last = step()
    assert (len(last.trial.reports), last.end is None) == (EPOCHS, False)
    assert begun_with == [0, 2]


def test_a_trial_that_reaches_the_target_is_complete(config: TrialConfig, cache_dir: Path, tmp_path: Path) -> None:
    actor = TrialActor(assigned(config, tmp_path / "run", cache_dir, target=0.001))
    reached = answer(actor)
    assert reached.end is not None
    assert reached.end.kind is EndKind.COMPLETED
    assert [report.ended_by for report in reached.trial.reports] == ["target"]
    actor.cleanup()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (TrialFailed("training loss must be finite"), EndKind.FAILED, "TrialFailed: training loss must be finite"),
        (OutOfMemory("a micro-batch must fit"), EndKind.OUT_OF_MEMORY, "OutOfMemory: a micro-batch must fit"),
        (StorageFailed("the disk is full"), EndKind.STORAGE_FAILED, "the disk is full"),
    ],
)
def test_an_error_of_the_training_ends_the_trial(
    error: Exception,
    kind: EndKind,
    message: str,
    config: TrialConfig,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    def begin(assignment: Assignment) -> run_trial.StartedTrial:
        def epochs() -> Iterator[EpochReport]:
            raise error
            yield

        return (), epochs()

    monkeypatch.setattr(run_trial, "begin", begin)
    actor = TrialActor(assigned(config, tmp_path / "run", cache_dir))
    end = answer(actor).end
    actor.cleanup()
    assert end is not None
    assert end.failure is not None
    assert (end.kind, end.failure.message) == (kind, message)
    if kind is not EndKind.STORAGE_FAILED:
        assert end.failure.log == "logs/0000.log"
    assert message.removeprefix("TrialFailed: ") in RunFolder(tmp_path / "run").log("0000").read_text()


def test_a_setting_that_cannot_be_used_ends_the_trial(config: TrialConfig, cache_dir: Path, tmp_path: Path) -> None:
    missing = config.model_copy(update={"weights": str(tmp_path / "none.safetensors")})
    actor = TrialActor(assigned(missing, tmp_path / "run", cache_dir))
    end = answer(actor).end
    actor.cleanup()
    assert end is not None
    assert end.kind is EndKind.FAILED
    assert end.failure is not None
    assert end.failure.message.startswith("InvalidInput: ")
    assert "none.safetensors" in end.failure.message


def test_the_death_of_a_rank_is_ray_s_to_handle(
    config: TrialConfig, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(assignment: Assignment) -> run_trial.StartedTrial:
        raise WorkerLost("rank 1 has died")

    monkeypatch.setattr(run_trial, "begin", lost)
    actor = TrialActor(assigned(config, tmp_path / "run", cache_dir))
    with pytest.raises(WorkerLost, match="rank 1 has died"):
        actor.step()
    actor.cleanup()
    assert "Ray tries again, from the last checkpoint" in RunFolder(tmp_path / "run").log("0000").read_text()

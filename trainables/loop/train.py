"""One trial: an iterator of epochs. It knows nothing of the sweep around it."""

import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from search_spaces.errors import InvalidInput, TrialFailed
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, load_arrays
from trainables.data.node_cache import NodeCache
from trainables.data_config import DataConfig
from trainables.loop.folds.fold_heads import AnyLearner, open_trial_learner
from trainables.loop.folds.fold_measure import by_fold, judged_parts, mean_metrics, measure_parts
from trainables.loop.optim import count_plateaus, epochs_without_improvement
from trainables.loop.source_files import check_sources
from trainables.model.freeze_plan import freeze_plan
from trainables.result import EndedBy, EpochReport, best_report
from trainables.storage.folders import TrialFolders
from trainables.storage.place import storage_errors
from trainables.task.inference import write_predictions
from trainables.task_catalog import METRICS_VERSION


class OpenImages(Protocol):
    """Function that opens the images of train and val."""

    def __call__(self, data: DataConfig, cache: Path, *, budget: int | None) -> Arrays:
        """Open them; `budget` is that of the node's cache, in bytes."""
        ...


def train(
    config: TrialConfig,
    folders: TrialFolders,
    resume_from: Path | None = None,
    metrics_version: int = METRICS_VERSION,
    *,
    fingerprint: str | None = None,
    sources: Mapping[str, str] = MappingProxyType({}),
    open_images: OpenImages = load_arrays,
    keeps_newest: bool = False,
) -> Generator[EpochReport, None, None]:
    """Train one configuration; every `next()` is one epoch, its checkpoint on disk before its report is handed out.

    In an initialized process group every rank iterates in lockstep and yields the same reports; rank 0 writes files.
    `resume_from` is a `last` checkpoint of the same configuration: the epochs after it are yielded, equal to those of a
    trial that was never interrupted, by the `metrics_version` of the checkpoint (see `Task.measure`). The checkpoint
    `best` is that of the best objective, or, where it `keeps_newest`, that of the newest epoch. `open_images` opens the
    images as `load_arrays` does. Closing the iterator ends the trial and releases what it holds.

    Raises InvalidInput for data, weights or a checkpoint that cannot be used, and where the images of train and val do
    not have the `fingerprint` that is given, or weights and teacher not the digests of `sources`, see `check_sources`;
    TrialFailed when a loss is not finite,
    OutOfMemory when not even one image at a time fits, StorageFailed when a checkpoint cannot be written.
    """
    arrays = open_images(config.data, folders.cache, budget=folders.cache_budget)
    check_sources([config], sources)  # after the images, with which the place of copies from a bucket is known
    _check_images(config, arrays, fingerprint)
    state = None if resume_from is None else _read_state(config, arrays, resume_from)
    learner = open_trial_learner(config, arrays, NodeCache(folders.cache, folders.cache_budget), state)
    judged, reports = judged_parts(learner.task, arrays.dataset), list[EpochReport]()
    if resume_from is not None and state is not None:
        learner.restore(resume_from, state)
        reports, metrics_version = list(state.reports), state.metrics_version
    else:
        learner.start_head()
    while not reports or reports[-1].ended_by is None:
        epoch = len(reports)
        started = time.perf_counter()
        learner.thaw(epoch)
        since = learner.plan.since_boundary(epoch)
        metrics = learner.train_epoch(epoch, count_plateaus(_objectives(config, reports, since), config.objective))
        outputs = learner.validate()
        measured = measure_parts(learner.task, judged, outputs, metrics_version)
        metrics |= _validation(measured, epoch, metrics["lr/head"])
        reports.append(_report(learner, reports, metrics, by_fold(measured), started, keeps_newest=keeps_newest))
        learner.notes.clear()
        if learner.is_main:
            _write(learner, arrays, folders, _state(learner, arrays, reports, metrics_version), outputs)
        learner.wait()
        yield reports[-1]


def _check_images(config: TrialConfig, arrays: Arrays, fingerprint: str | None) -> None:
    if fingerprint is not None and not arrays.fingerprints.is_trained(fingerprint):
        raise InvalidInput(
            f"{config.data.root}: images must be the same in every trial of a run, but they have changed since it "
            "began; restore them, or start a new run"
        )


def _validation(measured: Sequence[Mapping[str, float]], epoch: int, rate: float) -> dict[str, float]:
    """Return the metrics of val under their names, with folds their means; raises TrialFailed for one not finite."""
    for name, value in (item for part in measured for item in part.items()):
        if not np.isfinite(value):
            raise TrialFailed(
                f"validation {name} must be finite, got {value} after epoch {epoch + 1} with lr {rate:.2e}; "
                "lower the learning rate"
            )
    return {f"val/{name}": value for name, value in mean_metrics(measured).items()}


def _report(
    learner: AnyLearner,
    reports: list[EpochReport],
    metrics: dict[str, float],
    folds: dict[str, tuple[float, ...]] | None,
    started: float,
    *,
    keeps_newest: bool,
) -> EpochReport:
    """Return the report of the epoch after `reports`, which began at `started`."""
    config, (total, trainable) = learner.config, learner.parameter_counts
    value = config.objective.value(metrics)
    best = best_report(reports, config.objective)
    improved = keeps_newest or best is None or config.objective.better(value, config.objective.value(best.metrics))
    return EpochReport(
        epoch=len(reports) + 1,
        metrics=metrics,
        seconds=time.perf_counter() - started,
        checkpoint="best" if improved else "last",
        ended_by=_ended_by(config, reports, value),
        folds=folds,
        total_parameters=total,
        trainable_parameters=trainable,
        cached=learner.cached,
        notes=tuple(learner.notes),
    )


def _write(
    learner: AnyLearner,
    arrays: Arrays,
    folders: TrialFolders,
    state: CheckpointState,
    outputs: npt.NDArray[np.float32],
) -> None:
    """Write the checkpoints of the last epoch of `state` and, where it is the best, the predictions."""
    improved = state.reports[-1].checkpoint == "best"
    with storage_errors(folders.checkpoints):
        if improved:
            write_predictions(folders.predictions, learner.task.predictions(outputs, arrays.dataset, "val"))
            learner.save_trained(folders.best, state)
        shared = folders.best if improved and learner.ema is None else None
        learner.save(folders.last, state, weights_in=shared)


def _ended_by(config: TrialConfig, reports: list[EpochReport], target: float) -> EndedBy | None:
    """Say why the epoch after `reports`, of objective `target`, is the last; patience counts from the last thaw."""
    if len(reports) + 1 == config.epochs:
        return "budget"
    plan = freeze_plan(config)
    if config.patience is None or len(reports) < plan.last_boundary:
        return None
    objectives = [*_objectives(config, reports, plan.last_boundary), target]
    waited = epochs_without_improvement(objectives, config.objective, config.min_delta)
    return "patience" if waited >= config.patience else None


def _objectives(config: TrialConfig, reports: list[EpochReport], since: int) -> list[float]:
    return [config.objective.value(report.metrics) for report in reports[since:]]


def _state(learner: AnyLearner, arrays: Arrays, reports: list[EpochReport], metrics_version: int) -> CheckpointState:
    return CheckpointState(
        config=learner.config,
        classes=arrays.classes,
        fingerprint=arrays.fingerprints.trained,
        mean=learner.mean,
        std=learner.std,
        reports=tuple(reports),
        micro_batch=learner.micro_batch,
        metrics_version=metrics_version,
        scaler=learner.scaler_state,
        frozen_digest=learner.frozen_digest,
    )


def _read_state(config: TrialConfig, arrays: Arrays, folder: Path) -> CheckpointState:
    """Return the state of a checkpoint from which a trial goes on."""
    state = CheckpointState.read(folder)
    if state.config != config:
        raise InvalidInput(f"checkpoint must be of the same configuration, got {folder}; start the trial anew")
    if not arrays.fingerprints.is_trained(state.fingerprint):
        raise InvalidInput(
            f"checkpoint must be of the same data set, got {folder}, whose images have changed since; "
            "restore them, or start a new run"
        )
    return state

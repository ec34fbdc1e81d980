"""One trial: an iterator of epochs. It knows nothing of the sweep around it."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from search_spaces.errors import InvalidInput, TrialFailed
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, load_arrays
from trainables.data.node_cache import NodeCache
from trainables.loop.checkpoint import CheckpointState, load_checkpoint, save_checkpoint
from trainables.loop.learner import Learner
from trainables.loop.optim import count_plateaus, epochs_without_improvement
from trainables.model.freeze_plan import freeze_plan
from trainables.result import EndedBy, EpochReport, best_report
from trainables.storage.folders import TrialFolders
from trainables.storage.place import storage_errors
from trainables.task import classification, inference


def train(config: TrialConfig, folders: TrialFolders, resume_from: Path | None = None) -> Iterator[EpochReport]:
    """Train one configuration; every `next()` is one epoch, its checkpoint on disk before its report is handed out.

    In an initialised process group every rank iterates in lockstep and yields the same reports; rank 0 writes files.
    `resume_from` is a `last` checkpoint of the same configuration: the epochs after it are yielded, equal to those of a
    trial that was never interrupted. Closing the iterator ends the trial and releases what it holds.

    Raises InvalidInput for data, weights or a checkpoint that cannot be used, TrialFailed when a loss is not finite,
    OutOfMemory when not even one image at a time fits, StorageFailed when a checkpoint cannot be written.
    """
    arrays = load_arrays(config.data, folders.cache, budget=folders.cache_budget)
    learner = Learner(config, arrays, NodeCache(folders.cache, folders.cache_budget))
    reports = _restore(learner, arrays, resume_from) if resume_from is not None else []
    while not reports or reports[-1].ended_by is None:
        epoch = len(reports)
        started = time.perf_counter()
        learner.thaw(epoch)
        since = learner.plan.since_boundary(epoch)
        metrics = learner.train_epoch(epoch, count_plateaus(_objectives(config, reports, since), config.objective))
        logits = learner.validate()
        validation = classification.metrics(logits, arrays.splits["val"].labels)
        metrics |= {f"val/{name}": value for name, value in validation.items()}
        if not np.isfinite(metrics["val/loss"]):
            raise TrialFailed(
                f"validation loss must be finite, got {metrics['val/loss']} after epoch {epoch + 1} with "
                f"lr {metrics['lr/head']:.2e}; lower the learning rate"
            )

        target = metrics[config.objective.metric]
        best = best_report(reports, config.objective)
        improved = best is None or config.objective.better(target, best.metrics[config.objective.metric])
        report = EpochReport(
            epoch=epoch + 1,
            metrics=metrics,
            seconds=time.perf_counter() - started,
            checkpoint="best" if improved else "last",
            ended_by=_ended_by(config, reports, target),
            notes=tuple(learner.notes),
        )
        learner.notes.clear()
        reports.append(report)
        if learner.is_main:
            state = _state(learner, arrays, reports)
            with storage_errors(folders.checkpoints):
                if improved:
                    samples = arrays.dataset.splits["val"]
                    inference.write_predictions(folders.predictions, samples, arrays.classes, logits)
                    save_checkpoint(folders.best, learner.trained, state)
                shared = folders.best if improved and learner.ema is None else None
                save_checkpoint(folders.last, learner.model, state, learner.optimizer, learner.ema, weights_in=shared)
        learner.accelerator.wait_for_everyone()
        yield report


def _ended_by(config: TrialConfig, reports: list[EpochReport], target: float) -> EndedBy | None:
    """Why the epoch after `reports`, with the objective `target`, is the last; patience counts from the last thaw."""
    if len(reports) + 1 == config.epochs:
        return "budget"
    plan = freeze_plan(config)
    if config.patience is None or len(reports) < plan.last_boundary:
        return None
    objectives = [*_objectives(config, reports, plan.last_boundary), target]
    waited = epochs_without_improvement(objectives, config.objective, config.min_delta)
    return "patience" if waited >= config.patience else None


def _objectives(config: TrialConfig, reports: list[EpochReport], since: int) -> list[float]:
    return [report.metrics[config.objective.metric] for report in reports[since:]]


def _state(learner: Learner, arrays: Arrays, reports: list[EpochReport]) -> CheckpointState:
    scaler = learner.accelerator.scaler
    return CheckpointState(
        config=learner.config,
        classes=arrays.classes,
        fingerprint=arrays.fingerprint,
        mean=learner.mean,
        std=learner.std,
        reports=tuple(reports),
        micro_batch=learner.micro_batch,
        scaler=scaler.state_dict() if scaler is not None else {},
    )


def _restore(learner: Learner, arrays: Arrays, folder: Path) -> list[EpochReport]:
    """Take over the state of a checkpoint; returns the reports up to it."""
    state = CheckpointState.read(folder)
    if state.config != learner.config:
        raise InvalidInput(f"checkpoint must be of the same configuration, got {folder}; start the trial anew")
    if state.fingerprint != arrays.fingerprint:
        raise InvalidInput(
            f"checkpoint must be of the same data set, got {folder}, whose images have changed since; "
            "restore them, or start a new run"
        )
    for epoch in range(len(state.reports)):
        learner.thaw(epoch)
    load_checkpoint(folder, learner.model, learner.optimizer, learner.ema)
    learner.micro_batch = state.micro_batch
    if learner.accelerator.scaler is not None:
        learner.accelerator.scaler.load_state_dict(state.scaler)
    return list(state.reports)

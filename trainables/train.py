"""One trial: an iterator of epochs. It knows nothing of the sweep around it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from timm.data.config import resolve_data_config
from torch import nn

from search_spaces.errors import InvalidInput, TrialFailed
from trainables import classification, evaluate
from trainables.checkpoint import CheckpointState, load_checkpoint, save_checkpoint
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, load_arrays
from trainables.data.augment import augment
from trainables.data.balance import batches, class_weights, epoch_order
from trainables.data.stats import channel_stats
from trainables.folders import TrialFolders
from trainables.model.build import build_model
from trainables.model.freeze import set_train_mode, set_trainable
from trainables.model.plan import freeze_plan
from trainables.model.stages import stage_table
from trainables.optim import (
    build_optimizer,
    count_plateaus,
    epochs_without_improvement,
    lr_factor,
    parameter_groups,
    set_learning_rates,
)
from trainables.result import EndedBy, EpochReport, best_report


def train(config: TrialConfig, folders: TrialFolders, resume_from: Path | None = None) -> Iterator[EpochReport]:
    """Train one configuration; every `next()` is one epoch, its checkpoint on disk before its report is handed out.

    `resume_from` is a `last` checkpoint of the same configuration: the epochs after it are yielded, equal to those of a
    trial that was never interrupted. Closing the iterator ends the trial and releases what it holds.

    Raises InvalidInput for data, weights or a checkpoint that cannot be used, TrialFailed when a loss is not finite.
    """
    arrays = load_arrays(config.data, folders.cache)
    trial = _Trial(config, arrays)
    reports: list[EpochReport] = []
    if resume_from is not None:
        reports += trial.restore(resume_from)
    while not reports or reports[-1].ended_by is None:
        epoch = len(reports)
        started = time.perf_counter()
        trial.thaw(epoch)
        metrics = trial.train_epoch(epoch, reports)
        logits = evaluate.predict_logits(trial.model, arrays.splits["val"], trial.mean, trial.std, trial.device)
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
        )
        reports.append(report)
        state = trial.state(reports)
        if improved:
            evaluate.write_predictions(folders.predictions, arrays.dataset.splits["val"], arrays.classes, logits)
            save_checkpoint(folders.best, trial.model, state)
        save_checkpoint(folders.last, trial.model, state, trial.optimizer)
        yield report


def _ended_by(config: TrialConfig, reports: list[EpochReport], target: float) -> EndedBy | None:
    """Why the epoch after `reports`, with the objective `target`, is the last; patience counts from the last thaw."""
    if len(reports) + 1 == config.epochs:
        return "budget"
    plan = freeze_plan(config)
    if config.patience is None or len(reports) < plan.last_boundary:
        return None
    objectives = [*_objectives(config, reports, plan.last_boundary), target]
    waited = epochs_without_improvement(objectives, config.objective)
    return "patience" if waited >= config.patience else None


def _objectives(config: TrialConfig, reports: list[EpochReport], since: int) -> list[float]:
    return [report.metrics[config.objective.metric] for report in reports[since:]]


class _Trial:
    """Model, optimiser and accelerator of a running trial."""

    def __init__(self, config: TrialConfig, arrays: Arrays) -> None:
        self.config = config
        self.arrays = arrays
        self.split = arrays.splits["train"]
        self.plan = freeze_plan(config)
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.device = self.accelerator.device
        self.model = build_model(config, len(arrays.classes)).to(self.device)
        self.stages = stage_table(self.model)
        self.mean, self.std = self._normalization()
        weights = class_weights(self.split.labels, len(arrays.classes)) if config.balance == "loss" else None
        ones = np.ones(len(arrays.classes))
        self.class_weights = torch.tensor(ones if weights is None else weights, dtype=torch.float32, device=self.device)
        set_trainable(self.model, self.stages.trainable(0))
        self.optimizer = build_optimizer(config, self._groups(frozenset(self.stages.head), "head"))
        self.thawed = frozenset(self.stages.head)
        self.prepared: nn.Module = self.model
        self._prepare()

    def thaw(self, epoch: int) -> None:
        """Bring the model to the stages that train during `epoch`.

        The optimiser gains groups for what is new and keeps the state of the rest; the model is prepared anew, so that
        gradients of what has just been thawed are reduced over the workers.
        """
        names = self.stages.trainable(self.plan.stages_at(epoch))
        if names == self.thawed:
            return
        set_trainable(self.model, names)
        for group in self._groups(names - self.thawed, "backbone"):
            self.optimizer.add_param_group(group)
        self.thawed = names
        self._prepare()

    def train_epoch(self, epoch: int, reports: list[EpochReport]) -> dict[str, float]:
        """Train one epoch; returns the mean training loss and the rates of its last step."""
        config, labels = self.config, self.split.labels
        order = epoch_order(labels, len(self.arrays.classes), config.balance, config.seed, epoch)
        steps = batches(order, config.batch_size)
        since = self.plan.since_boundary(epoch)
        plateaus = count_plateaus(_objectives(config, reports, since), config.objective)
        set_train_mode(self.model)
        # Read once at the end: asking for a number in every step would make the device wait for the host.
        losses = torch.zeros(2, len(steps), dtype=torch.float64, device=self.device)
        for step, indices in enumerate(steps):
            # One division: rounded twice, a third of the steps would not be a third.
            progress = (epoch * len(steps) + step) / (config.epochs * len(steps))
            set_learning_rates(self.optimizer, lr_factor(config.scheduler, progress, plateaus))
            # Dropout draws from torch's global stream: seeded a step, it depends on nothing that ran before.
            torch.manual_seed(int(np.random.SeedSequence([config.seed, epoch, step]).generate_state(1)[0]))
            targets = torch.from_numpy(labels[indices]).to(self.device)
            loss_sum = classification.weighted_loss_sum(
                self.prepared(self._inputs(indices, epoch)), targets, self.class_weights
            )
            weight = self.class_weights[targets].sum()
            self.prepared_optimizer.zero_grad()
            self.accelerator.backward(loss_sum / weight)
            self.prepared_optimizer.step()
            losses[0, step], losses[1, step] = loss_sum.detach(), weight
        sums, weights = losses.cpu().numpy()
        wrong = np.flatnonzero(~np.isfinite(sums))
        if len(wrong):
            raise TrialFailed(
                f"training loss must be finite, got {sums[wrong[0]]} in epoch {epoch + 1}, batch {wrong[0] + 1} of "
                f"{len(steps)}, with lr {config.lr:.2e}; lower the learning rate"
            )
        return {"train/loss": float(sums.sum() / weights.sum()), **self._rates()}

    def state(self, reports: list[EpochReport]) -> CheckpointState:
        """What a checkpoint after the last of `reports` has to know."""
        return CheckpointState(
            config=self.config,
            classes=self.arrays.classes,
            fingerprint=self.arrays.fingerprint,
            mean=self.mean,
            std=self.std,
            reports=tuple(reports),
        )

    def restore(self, folder: Path) -> list[EpochReport]:
        """Take over the state of a checkpoint; returns the reports up to it."""
        state = CheckpointState.read(folder)
        if state.config != self.config:
            raise InvalidInput(f"checkpoint must be of the same configuration, got {folder}; start the trial anew")
        if state.fingerprint != self.arrays.fingerprint:
            raise InvalidInput(
                f"checkpoint must be of the same data set, got {folder}, whose images have changed since; "
                "restore them, or start a new run"
            )
        for epoch in range(len(state.reports)):
            self.thaw(epoch)
        load_checkpoint(folder, self.model, self.optimizer)
        return list(state.reports)

    def _inputs(self, indices: np.ndarray[tuple[int], np.dtype[np.int64]], epoch: int) -> torch.Tensor:
        images = evaluate.to_unit(self.split.images[indices], self.device)
        if self.config.augmentation != "none":
            images = augment(images, self.config.augmentation, self.config.seed, epoch, indices)
        return evaluate.normalize(images, self.mean, self.std)

    def _prepare(self) -> None:
        # With mixed precision, `forward` would be wrapped in autocast once more; and a model that keeps the mark of its
        # preparation is not prepared again.
        self.accelerator.unwrap_model(self.prepared, keep_fp32_wrapper=False)
        vars(self.model).pop("_is_accelerate_prepared", None)
        self.accelerator.free_memory()
        self.prepared = self.accelerator.prepare(self.model)
        self.prepared_optimizer = self.accelerator.prepare(self.optimizer)

    def _groups(self, names: frozenset[str], part: str) -> list[dict[str, object]]:
        factor = 1.0 if part == "head" else self.config.backbone_lr_factor
        return parameter_groups(
            self.model, names, part=part, peak_lr=self.config.lr * factor, weight_decay=self.config.weight_decay
        )

    def _rates(self) -> dict[str, float]:
        return {f"lr/{group['part']}": float(group["lr"]) for group in self.optimizer.param_groups}

    def _normalization(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        if self.config.normalization == "dataset":
            return channel_stats(self.split.images)
        wanted: dict[str, Any] = resolve_data_config({}, model=self.model)  # type: ignore[no-untyped-call]
        return tuple(wanted["mean"]), tuple(wanted["std"])

"""Learner: the model of a trial with everything that moves it, on one process or on one rank of many.

Several workers compute what one computes: the global batch is drawn once and shared out, the loss is divided by the
weight of the global batch, and chance is a function of the sample. What differs is the order of floating-point sums,
the draws of dropout and, where a model has BatchNorm in train mode, its statistics: each rank (and each micro-batch)
normalises by its own share, unless `sync_batchnorm` is set on GPUs.
"""

import contextlib
import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from timm.data.config import resolve_data_config
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from search_spaces.errors import InvalidInput, OutOfMemory, TrialFailed
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, Split
from trainables.data.balance import batches, class_weights, epoch_order
from trainables.data.lazy_images import Indices
from trainables.data.node_cache import NodeCache
from trainables.data.sample_random import Draw
from trainables.data.stats import channel_stats
from trainables.loop.batches import Batches
from trainables.loop.feature_training import CannotCache, PhaseFeatures, epoch_draw, fixed_views, open_features
from trainables.loop.optim import build_optimizer, parameter_groups, peak_lr, rates, set_learning_rates
from trainables.model.build import build_model
from trainables.model.device_memory import forward_batch, is_out_of_memory, release
from trainables.model.freeze import set_train_mode, set_trainable
from trainables.model.freeze_plan import freeze_plan
from trainables.model.stages import stage_table
from trainables.task import inference
from trainables.task.classification import loss_sum

log = logging.getLogger(__name__)


class Learner:
    """Model, optimiser, accelerator and moving average of one trial."""

    def __init__(self, config: TrialConfig, arrays: Arrays, cache: NodeCache) -> None:
        self.config = config
        self.arrays = arrays
        self.cache = cache
        self.classes = len(arrays.classes)
        self.plan = freeze_plan(config)
        self.accelerator = _accelerator(config)
        self.device = self.accelerator.device
        self.model = self._build()
        self.stages = stage_table(self.model)
        self.mean, self.std = self._normalization()
        self.batches, self.validation = (
            Batches(config, arrays.splits[name], self.mean, self.std, self.device) for name in ("train", "val")
        )
        # Images stay on the device from the first phase on that reads them, until they are in the way.
        self.keeps_images = True
        self.class_weights = self._class_weights()
        # No larger than the data: to halve what is never reached would change nothing.
        self.micro_batch = min(config.micro_batch_size or config.batch_size, len(self.split))
        self.evaluation_batch = forward_batch(config.data.image_size, self.device)
        self.notes: list[str] = []
        head = frozenset(self.stages.head)
        set_trainable(self.model, head)
        self.thawed = head
        self.optimizer = build_optimizer(config, self._groups(head, since=0))
        self.ema = _moving_average(self.model, config.ema_decay)
        self.features: PhaseFeatures | None = None
        self.part: nn.Module = self.model
        self.prepared: nn.Module = self.model
        self.prepared_for: frozenset[str] = frozenset()

    @property
    def split(self) -> Split:
        """What is trained on."""
        return self.batches.split

    @property
    def trained(self) -> nn.Module:
        """What is evaluated and kept: the moving average where there is one, else the model itself."""
        return self.model if self.ema is None else self.ema.module

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks to others."""
        return bool(self.accelerator.is_main_process)

    def thaw(self, epoch: int) -> None:
        """Bring the model to the stages that train during `epoch`.

        The optimiser gains groups for what is new and keeps the state of the rest; before it trains, the model is
        prepared anew, so that gradients of what has just been thawed are reduced over the workers.
        """
        names = self.stages.trainable(self.plan.stages_at(epoch))
        if names == self.thawed:
            return
        set_trainable(self.model, names)
        for group in self._groups(names - self.thawed, since=self.plan.since_boundary(epoch)):
            self.optimizer.add_param_group(group)
        self.thawed = names

    def train_epoch(self, epoch: int, plateaus: int) -> dict[str, float]:
        """Train one epoch; returns the mean training loss and the rates of its last step.

        Raises TrialFailed when a loss is not finite, OutOfMemory when not even one image at a time fits.
        """
        config = self.config
        if self.prepared_for != self.thawed:
            self._prepare(epoch)
        order = epoch_order(
            self.split.labels, self.classes, config.balance, config.seed, epoch, weighting=config.class_weighting
        )
        steps = batches(order, config.batch_size)
        set_train_mode(self.model)
        # Read once at the end: asking for a number in every step would make the device wait for the host.
        losses = torch.zeros(2, len(steps), dtype=torch.float64, device=self.device)
        for step, batch in enumerate(steps):
            set_learning_rates(self.optimizer, config, epoch + step / len(steps), 1 / len(steps), plateaus)
            if self.features is None:
                self.split.announce(*map(self._share, steps[step : step + 2]))
            losses[0, step], losses[1, step] = self._fitting(batch, epoch, step)
        self.split.announce()
        losses[0] = self.accelerator.reduce(losses[0], "sum")
        sums, weights = losses.cpu().numpy()
        wrong = np.flatnonzero(~np.isfinite(sums))
        if len(wrong):
            raise TrialFailed(
                f"training loss must be finite, got {sums[wrong[0]]} in epoch {epoch + 1}, batch {wrong[0] + 1} of "
                f"{len(steps)}, with lr {config.lr:.2e}; lower the learning rate"
            )
        return {"train/loss": float(sums.sum() / weights.sum()), **rates(self.optimizer)}

    def validate(self) -> npt.NDArray[np.float32]:
        """Logits (n, classes) of the validation split on every rank, each having computed a share of its images."""
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        shares = np.array_split(np.arange(len(self.validation)), ranks)
        logits = self._predict_fitting(shares[rank])
        if ranks == 1:
            return logits
        # Ranks must gather equal shapes; what was added is dropped again, so no image counts twice.
        padded = np.zeros((len(shares[0]), logits.shape[1]), dtype=np.float32)
        padded[: len(logits)] = logits
        gathered = self.accelerator.gather(torch.from_numpy(padded).to(self.device)).cpu().numpy()
        parts = np.split(gathered, ranks)
        return np.concatenate([part[: len(share)] for part, share in zip(parts, shares, strict=True)])

    def _predict_fitting(self, share: Indices) -> npt.NDArray[np.float32]:
        """Logits of a share; while they do not fit into memory, in batches half as large. Nothing else changes."""
        while True:
            try:
                return self._predict(share)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                room_made = self._take_images_back()
                if self.evaluation_batch == 1 and not room_made:
                    raise OutOfMemory(
                        "a validation image must fit into memory, but none does; set a smaller architecture or size"
                    ) from error
            if not room_made:
                self.evaluation_batch //= 2
            release()

    def _predict(self, share: Indices) -> npt.NDArray[np.float32]:
        size = self.evaluation_batch
        if self.features is None:
            split = self.validation.split
            return inference.predict_logits(
                self.trained, split, self.mean, self.std, self.device, batch_size=size, rows=share
            )
        suffix = self.part if self.ema is None else self.features.cut.suffix(self.trained)
        return inference.predict_features(suffix, self.features.validation, share, size)

    def _step(self, batch: Indices, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """One optimiser step on the global batch; returns this rank's loss sum and the global weight."""
        config = self.config
        partners = batch[::-1]
        draw = self._draw(epoch)
        weight = self.batches.targets(batch, partners, draw).weights(self.class_weights).sum()
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        positions = np.array_split(np.arange(len(batch)), ranks)[rank]
        parts = np.array_split(positions, max(1, -(-len(positions) // self.micro_batch)))
        # Dropout draws from torch's global stream: seeded a step, it depends on nothing that ran before.
        _seed(int(np.random.SeedSequence([config.seed, epoch, step, rank]).generate_state(1)[0]), self.device)
        self.optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for number, part in enumerate(parts):
            waiting = number < len(parts) - 1
            with self.accelerator.no_sync(self.prepared) if waiting else contextlib.nullcontext():
                if self.features is None:
                    inputs = self.batches.images(batch[part], partners[part], draw)
                else:
                    inputs = self.features.batch(batch[part], epoch)
                loss = loss_sum(
                    self.prepared(inputs),
                    self.batches.targets(batch[part], partners[part], draw),
                    self.class_weights,
                    focal_gamma=config.focal_gamma,
                    label_smoothing=config.label_smoothing,
                )
                # The ranks' gradients are averaged, but the loss is a sum over ranks.
                self._backward(loss / weight * ranks)
            total += loss.detach().double()
        if config.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.prepared.parameters(), config.clip_norm)
        # Accelerate's own step looks for packages on the disk, every time; only the scaler of fp16 needs it.
        (self.optimizer if self.accelerator.scaler is None else self.prepared_optimizer).step()
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        return total, weight

    def _backward(self, loss: Tensor) -> None:
        scaler = self.accelerator.scaler
        (loss if scaler is None else scaler.scale(loss)).backward()

    def _fitting(self, batch: Indices, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Take a step; while it does not fit into memory, halve the micro-batch and run it again.

        Images that are kept on the device are given up first: that costs time, and changes nothing that is computed.
        The global batch stays what it was. Ranks cannot agree on this without a message a step, so with several workers
        the trial ends at once.
        """
        while True:
            try:
                return self._step(batch, epoch, step)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                smaller = self.micro_batch // 2
                ranks = self.accelerator.num_processes
                room_made = ranks == 1 and self._take_images_back()
                if not room_made and (smaller == 0 or ranks > 1):
                    raise OutOfMemory(
                        f"a micro-batch must fit into memory, got {self.micro_batch} images that do not; "
                        "set a smaller micro_batch_size, a smaller architecture or image_size"
                    ) from error
            # Outside the handler: the exception holds the frames, and with them the tensors that did not fit.
            self.optimizer.zero_grad()
            release()
            if room_made:
                continue
            self.micro_batch = smaller
            self.notes.append(f"out of memory: micro-batch halved to {smaller}; BatchNorm sees smaller batches")
            log.warning("%s", self.notes[-1])

    def _share(self, batch: Indices) -> Indices:
        """This rank's share of a global batch."""
        share: Indices = np.array_split(batch, self.accelerator.num_processes)[self.accelerator.process_index]
        return share

    def _take_images_back(self) -> bool:
        """Give up the images on the device; returns whether there were any."""
        self.keeps_images = False
        there = [batches.take_back() for batches in (self.batches, self.validation)]
        return any(there)

    def _build(self) -> nn.Module:
        model = build_model(self.config, self.classes)
        if self.config.sync_batchnorm and self.accelerator.num_processes > 1 and self.device.type == "cuda":
            model = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        model = model.to(self.device)
        return model.to(memory_format=torch.channels_last) if self.config.channels_last else model

    def _prepare(self, epoch: int) -> None:
        """Prepare what trains from now on: the whole model, or what is behind the cut where its features are there."""
        # With mixed precision, `forward` would be wrapped in autocast once more; and a model that keeps the mark of its
        # preparation is not prepared again.
        self.accelerator.unwrap_model(self.prepared, keep_fp32_wrapper=False)
        vars(self.model).pop("_is_accelerate_prepared", None)
        # `free_memory` does the same, and then waits for the garbage collector.
        self.accelerator._models.clear()
        self.accelerator._optimizers.clear()
        self.features = self._features(epoch)
        self.part = self.model if self.features is None else self.features.cut.suffix(self.model)
        if self.features is None and self.keeps_images:
            self.batches.keep()
            self.validation.keep()
        if self.config.compile:
            self.part.compile()
        self.prepared = self.accelerator.prepare(self.part)
        self.prepared_optimizer = self.accelerator.prepare(self.optimizer)
        self.prepared_for = self.thawed

    def _features(self, epoch: int) -> PhaseFeatures | None:
        """The features for the phase of `epoch`, or None; with a note where there should have been some."""
        stages = self.plan.stages_at(epoch)
        if stages == "all" or not fixed_views(self.config):
            return None
        found, reason = None, "another worker has no room for them"
        rest = [later for later in range(epoch, self.config.epochs) if self.plan.stages_at(later) == stages]
        try:
            found = open_features(
                self.config,
                self.model,
                stages,
                rest,
                self.arrays.fingerprint,
                self.batches,
                self.validation,
                self.cache,
                self.accelerator.autocast,
            )
        except CannotCache as error:
            reason = str(error)
        # Ranks that train different parts of a model would wait for each other for ever.
        ready = self.accelerator.reduce(torch.tensor(float(found is not None), device=self.device), "sum")
        if ready.item() == self.accelerator.num_processes:
            return found
        log.warning("features are not cached: %s; the backbone is run in every epoch", reason)
        if epoch == self.plan.since_boundary(epoch):
            self.notes.append(f"features are not cached: {reason}")
        return None

    def _draw(self, epoch: int) -> Draw:
        return epoch_draw(self.config, epoch, self.plan.stages_at(epoch))

    def _groups(self, names: frozenset[str], *, since: int) -> list[dict[str, Any]]:
        decay = self.config.weight_decay
        return [
            group
            for stage, own in self.stages.by_stage(names)
            for group in parameter_groups(
                self.model, own, stage=stage, peak_lr=peak_lr(self.config, stage), weight_decay=decay, since=since
            )
        ]

    def _class_weights(self) -> Tensor:
        weights = np.ones(self.classes)
        if self.config.balance == "loss":
            weights = class_weights(self.split.labels, self.classes, self.config.class_weighting)
        return torch.tensor(weights, dtype=torch.float32, device=self.device)

    def _normalization(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        if self.config.normalization == "dataset":
            if self.config.weights != "none":
                log.warning(
                    "normalization: dataset with pretrained weights: they were trained on inputs normalised otherwise, "
                    "so that frozen layers see shifted inputs; `weights` is the safer choice"
                )
            return channel_stats(self.arrays.splits["train"].images)
        wanted: dict[str, Any] = resolve_data_config({}, model=self.model)  # type: ignore[no-untyped-call]
        return tuple(wanted["mean"]), tuple(wanted["std"])


def _accelerator(config: TrialConfig) -> Accelerator:
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise InvalidInput("precision: fp16 needs a GPU, but there is none; set bf16 or fp32")
    # Accelerate keeps its precision for the whole process, and refuses another; a warm worker runs trials of both.
    # There is no public way to say that one trial is over and another begins.
    AcceleratorState._reset_state()
    mixed = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}[config.precision]
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=mixed)


def _seed(number: int, device: torch.device) -> None:
    """As torch.manual_seed, which formats a traceback for every kind of device that is not there, and keeps it."""
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def _moving_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=blend, use_buffers=True).requires_grad_(False)

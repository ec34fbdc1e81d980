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
from trainables import evaluate
from trainables.classification import Targets, loss_sum
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, Split
from trainables.data.augment import augment
from trainables.data.balance import batches, class_weights, epoch_order
from trainables.data.erasing import erase
from trainables.data.mixing import mix, pair_shares
from trainables.data.stats import channel_stats
from trainables.model.build import build_model
from trainables.model.freeze import set_train_mode, set_trainable
from trainables.model.plan import freeze_plan
from trainables.model.stages import stage_table
from trainables.optim import build_optimizer, parameter_groups, peak_lr, rates, set_learning_rates

log = logging.getLogger(__name__)

Indices = npt.NDArray[np.int64]


class Learner:
    """Model, optimiser, accelerator and moving average of one trial."""

    def __init__(self, config: TrialConfig, arrays: Arrays) -> None:
        self.config = config
        self.classes = len(arrays.classes)
        self.plan = freeze_plan(config)
        self.accelerator = _accelerator(config)
        self.device = self.accelerator.device
        self.model = self._build()
        # After the model: what is left is theirs to share.
        self.splits = {name: split.on(self.device) for name, split in arrays.splits.items()}
        self.stages = stage_table(self.model)
        self.mean, self.std = self._normalization()
        self.class_weights = self._class_weights()
        # No larger than the data: to halve what is never reached would change nothing.
        self.micro_batch = min(config.micro_batch_size or config.batch_size, len(self.split))
        self.evaluation_batch = evaluate.EVALUATION_BATCH
        self.notes: list[str] = []
        head = frozenset(self.stages.head)
        set_trainable(self.model, head)
        self.thawed = head
        self.optimizer = build_optimizer(config, self._groups(head, since=0))
        self.ema = _moving_average(self.model, config.ema_decay)
        self.prepared: nn.Module = self.model
        self._prepare()

    @property
    def split(self) -> Split:
        """What is trained on."""
        return self.splits["train"]

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

        The optimiser gains groups for what is new and keeps the state of the rest; the model is prepared anew, so that
        gradients of what has just been thawed are reduced over the workers.
        """
        names = self.stages.trainable(self.plan.stages_at(epoch))
        if names == self.thawed:
            return
        set_trainable(self.model, names)
        for group in self._groups(names - self.thawed, since=self.plan.since_boundary(epoch)):
            self.optimizer.add_param_group(group)
        self.thawed = names
        self._prepare()

    def train_epoch(self, epoch: int, plateaus: int) -> dict[str, float]:
        """Train one epoch; returns the mean training loss and the rates of its last step.

        Raises TrialFailed when a loss is not finite, OutOfMemory when not even one image at a time fits.
        """
        config = self.config
        order = epoch_order(
            self.split.labels, self.classes, config.balance, config.seed, epoch, weighting=config.class_weighting
        )
        steps = batches(order, config.batch_size)
        set_train_mode(self.model)
        # Read once at the end: asking for a number in every step would make the device wait for the host.
        losses = torch.zeros(2, len(steps), dtype=torch.float64, device=self.device)
        for step, batch in enumerate(steps):
            set_learning_rates(self.optimizer, config, epoch + step / len(steps), 1 / len(steps), plateaus)
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

    def predict(self, name: str) -> npt.NDArray[np.float32]:
        """Logits (n, classes) of a whole split on every rank, each having computed a share of exactly its images."""
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        shares = np.array_split(np.arange(len(self.splits[name])), ranks)
        logits = self._predict_fitting(name, shares[rank])
        if ranks == 1:
            return logits
        # Ranks must gather equal shapes; what was added is dropped again, so no image counts twice.
        padded = np.zeros((len(shares[0]), logits.shape[1]), dtype=np.float32)
        padded[: len(logits)] = logits
        gathered = self.accelerator.gather(torch.from_numpy(padded).to(self.device)).cpu().numpy()
        parts = np.split(gathered, ranks)
        return np.concatenate([part[: len(share)] for part, share in zip(parts, shares, strict=True)])

    def _predict_fitting(self, name: str, rows: Indices) -> npt.NDArray[np.float32]:
        """Logits of a share; while they do not fit into memory, in batches half as large. Nothing else changes."""
        while True:
            try:
                return evaluate.predict_logits(
                    self.trained,
                    self.splits[name],
                    self.mean,
                    self.std,
                    self.device,
                    batch_size=self.evaluation_batch,
                    rows=rows,
                )
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                room_made = self._take_images_back()
                if self.evaluation_batch == 1 and not room_made:
                    raise OutOfMemory(
                        "a validation image must fit into memory, but none does; set a smaller architecture or size"
                    ) from error
            if not room_made:
                self.evaluation_batch //= 2
            self._free()

    def _step(self, batch: Indices, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """One optimiser step on the global batch; returns this rank's loss sum and the global weight."""
        config = self.config
        partners = batch[::-1]
        weight = self._targets(batch, partners, epoch).weights(self.class_weights).sum()
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        positions = np.array_split(np.arange(len(batch)), ranks)[rank]
        parts = np.array_split(positions, max(1, -(-len(positions) // self.micro_batch)))
        # Dropout draws from torch's global stream: seeded a step, it depends on nothing that ran before.
        torch.manual_seed(int(np.random.SeedSequence([config.seed, epoch, step, rank]).generate_state(1)[0]))
        self.prepared_optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for number, part in enumerate(parts):
            waiting = number < len(parts) - 1
            with self.accelerator.no_sync(self.prepared) if waiting else contextlib.nullcontext():
                logits = self.prepared(self._inputs(batch[part], partners[part], epoch))
                loss = loss_sum(
                    logits,
                    self._targets(batch[part], partners[part], epoch),
                    self.class_weights,
                    focal_gamma=config.focal_gamma,
                    label_smoothing=config.label_smoothing,
                )
                # The ranks' gradients are averaged, but the loss is a sum over ranks.
                self.accelerator.backward(loss / weight * ranks)
            total += loss.detach().double()
        if config.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.prepared.parameters(), config.clip_norm)
        self.prepared_optimizer.step()
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        return total, weight

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
                if not _is_out_of_memory(error):
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
            self.prepared_optimizer.zero_grad()
            self._free()
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
        there = any(split.resident is not None for split in self.splits.values())
        self.splits = {name: split.on_host() for name, split in self.splits.items()}
        return there

    def _free(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _inputs(self, indices: Indices, partners: Indices, epoch: int) -> Tensor:
        config = self.config
        images = self._augmented(indices, epoch)
        if config.mixing != "none":
            images, _ = mix(
                config.mixing,
                images,
                self._augmented(partners, epoch),
                config.seed,
                epoch,
                indices,
                config.mixing_alpha,
            )
        images = evaluate.normalize_(images, self.mean, self.std)
        if config.random_erasing:
            images = erase(images, config.random_erasing, config.seed, epoch, indices)
        return images.contiguous(memory_format=torch.channels_last) if config.channels_last else images

    def _augmented(self, indices: Indices, epoch: int) -> Tensor:
        images = evaluate.to_unit(self.split.batch(indices, self.device))
        return augment(images, self.config.augmentation, self.config.seed, epoch, indices)

    def _targets(self, indices: Indices, partners: Indices, epoch: int) -> Targets:
        labels = torch.from_numpy(self.split.labels[indices]).to(self.device)
        config = self.config
        if config.mixing == "none":
            return Targets(labels)
        size = config.data.image_size
        shares = pair_shares(config.mixing, config.mixing_alpha, config.seed, epoch, indices, size)
        others = torch.from_numpy(self.split.labels[partners]).to(self.device)
        return Targets(labels, others, torch.from_numpy(shares).to(self.device))

    def _build(self) -> nn.Module:
        model = build_model(self.config, self.classes)
        if self.config.sync_batchnorm and self.accelerator.num_processes > 1 and self.device.type == "cuda":
            model = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        model = model.to(self.device)
        if self.config.channels_last:
            model = model.to(memory_format=torch.channels_last)
        if self.config.compile:
            model.compile()
        return model

    def _prepare(self) -> None:
        # With mixed precision, `forward` would be wrapped in autocast once more; and a model that keeps the mark of its
        # preparation is not prepared again.
        self.accelerator.unwrap_model(self.prepared, keep_fp32_wrapper=False)
        vars(self.model).pop("_is_accelerate_prepared", None)
        self.accelerator.free_memory()
        self.prepared = self.accelerator.prepare(self.model)
        self.prepared_optimizer = self.accelerator.prepare(self.optimizer)

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
            return channel_stats(self.split.images)
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


def _moving_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=blend, use_buffers=True).requires_grad_(False)


def _is_out_of_memory(error: Exception) -> bool:
    # The CPU's allocator, and oneDNN behind it, have no exception of their own.
    words = ("can't allocate memory", "could not create a primitive", "could not create a memory")
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(word in str(error) for word in words)

"""Learner: the model of a trial with everything that moves it, on one process or on one rank of many.

Several workers compute what one computes: the global batch is drawn once and shared out, the loss is divided by the
weight of the global batch, and chance is a function of the sample. What differs is the order of floating-point sums,
the draws of dropout and, where a model has BatchNorm in train mode, its statistics: each rank (and each micro-batch)
normalizes by its own share, unless `sync_batchnorm` is set on GPUs. With `norm_stats: frozen` there are none to differ.
"""

import contextlib
import logging
from functools import partial
from pathlib import Path
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

from search_spaces.errors import InvalidInput, TrialFailed
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, Split
from trainables.data.balance import batches, epoch_order
from trainables.data.lazy_images import Indices
from trainables.data.node_cache import NodeCache
from trainables.data.sample_random import Draw
from trainables.data.stats import Channels, channel_stats
from trainables.loop.batches import Batches, TrialBatches
from trainables.loop.checkpoint import load_checkpoint, optimizer_tensors, save_checkpoint, tensor_digests
from trainables.loop.feature_training import epoch_draw
from trainables.loop.memory_policy import MemoryPolicy
from trainables.loop.optim import build_optimizer, parameter_groups, peak_lr, rates, set_learning_rates
from trainables.loop.phase_preparation import PhasePreparation
from trainables.loop.probe_head import start_at_probe
from trainables.loop.start_decay import StartDecay
from trainables.loop.teacher import teacher_outputs
from trainables.model.batch_norm import check_batch_norm
from trainables.model.freeze import changing_names, frozen_digest, set_train_mode, set_trainable
from trainables.model.freeze_plan import freeze_plan
from trainables.model.stages import stage_table
from trainables.task import inference
from trainables.task.task import load_task

log = logging.getLogger(__name__)

# Number of steps that torch's AveragedModel keeps beside the averages.
_COUNTER = "n_averaged"


class Learner:
    """Model, optimizer, accelerator and moving average of one trial."""

    def __init__(self, config: TrialConfig, arrays: Arrays, cache: NodeCache) -> None:
        self.config = config
        self.arrays = arrays
        self.plan = freeze_plan(config)
        self.accelerator = _accelerator(config)
        self.device = self.accelerator.device
        self.task = load_task(config.task)
        self.model = self._build()
        self._known_digests = tensor_digests(config)
        self.stages = stage_table(self.model)
        check_batch_norm(self.model, config, len(arrays.splits["train"]), self.accelerator.num_processes)
        self.mean, self.std = self._normalization()
        batches_of = partial(Batches, config, mean=self.mean, std=self.std, device=self.device)
        train = batches_of(arrays.splits["train"])
        is_same = arrays.splits["val"] is arrays.splits["train"]  # with folds, or where val is trained on
        val = train if is_same else batches_of(arrays.splits["val"])
        self.images = TrialBatches(train, val, arrays.fingerprints.stored)
        self.sample_weights = self.task.sample_weights(config, arrays.dataset)
        teacher = teacher_outputs(config, arrays, cache)
        self.criterion = self.task.criterion(config, arrays.dataset, self.device, teacher)
        self.notes: list[str] = []
        self.memory = MemoryPolicy(config, self.images, self.accelerator.num_processes, self.notes)
        self.phase = PhasePreparation(config, self.model, self.accelerator, self.images, cache, self.notes)
        head = frozenset(self.stages.head)
        set_trainable(self.model, head)
        self.thawed = head
        self.changed = self._changing()
        """Names of the model's state that training can have changed so far; all of it where no weights were loaded."""
        self.prepared_for: frozenset[str] = frozenset()
        self.optimizer = build_optimizer(config, self._groups(head, since=0))
        self.start_decay = StartDecay(self.optimizer) if config.decay_to == "start" else None
        self.ema = moving_average(self.model, config.ema_decay)

    @property
    def split(self) -> Split:
        """The images that are trained on."""
        return self.images.train.split

    @property
    def trained(self) -> nn.Module:
        """The model that is evaluated and kept: the moving average where there is one, else the model itself."""
        return self.model if self.ema is None else self.ema.module

    @property
    def is_main(self) -> bool:
        """True where this process writes files and reports to others."""
        return bool(self.accelerator.is_main_process)

    def start_head(self) -> None:
        """Set the head to what it starts from, before anything has trained."""
        if self.config.head_init == "probe":
            start_at_probe(
                self.config, self.model, self.arrays.dataset, self.images, self.phase.cache, self.accelerator
            )

    def thaw(self, epoch: int) -> None:
        """Bring the model to the stages that train during `epoch`.

        The optimizer gains groups for what is new and keeps the state of the rest; before it trains, the model is
        prepared anew, so that gradients of what has just been thawed are reduced over the workers.
        """
        names = self.stages.trainable(self.plan.stages_at(epoch))
        if names == self.thawed:
            return
        set_trainable(self.model, names)
        for group in self._groups(names - self.thawed, since=self.plan.since_boundary(epoch)):
            if self.start_decay is not None:
                self.start_decay.take_over(group)
            self.optimizer.add_param_group(group)
        self.thawed = names
        self.changed |= self._changing()

    def prepare(self, epoch: int) -> None:
        """Prepare what trains from `epoch` on, unless that is done."""
        if self.prepared_for != self.thawed:
            self.phase.prepare(self.optimizer, epoch)
            self.prepared_for = self.thawed

    def train_epoch(self, epoch: int, plateaus: int) -> dict[str, float]:
        """Train one epoch; returns the mean training loss and the rates of its last step.

        Raises TrialFailed when a loss is not finite, OutOfMemory when not even one image at a time fits.
        """
        config = self.config
        self.prepare(epoch)
        order = epoch_order(len(self.split), config.seed, epoch, self.sample_weights)
        steps = batches(order, config.batch_size)
        set_train_mode(self.model, config.norm_stats)
        # Read once at the end: asking for a number in every step would make the device wait for the host.
        losses = torch.zeros(2, len(steps), dtype=torch.float64, device=self.device)
        for step, batch in enumerate(steps):
            set_learning_rates(self.optimizer, config, epoch + step / len(steps), 1 / len(steps), plateaus)
            if self.phase.features is None:
                self.split.announce(*map(self._share, steps[step : step + 2]))
            take = partial(self._step, batch, epoch, step)
            losses[0, step], losses[1, step] = self.memory.fit_step(take, self.optimizer.zero_grad)
        self.split.announce()
        losses[0] = self.accelerator.reduce(losses[0], "sum")
        return {"train/loss": mean_loss(losses, config, epoch), **rates(self.optimizer)}

    def validate(self) -> npt.NDArray[np.float32]:
        """Compute outputs (n, ...) of the validation split, each rank a share; every rank returns all of them."""
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        shares = np.array_split(np.arange(len(self.images.val)), ranks)
        outputs = self.memory.fit_evaluation(partial(self._predict, shares[rank]))
        if ranks == 1:
            return outputs
        # Ranks must gather equal shapes; what was added is dropped again, so no image counts twice.
        padded = np.zeros((len(shares[0]), *outputs.shape[1:]), dtype=np.float32)
        padded[: len(outputs)] = outputs
        gathered = self.accelerator.gather(torch.from_numpy(padded).to(self.device)).cpu().numpy()
        parts = np.split(gathered, ranks)
        return np.concatenate([part[: len(share)] for part, share in zip(parts, shares, strict=True)])

    @property
    def cached(self) -> bool:
        """True where this phase trains on features instead of images."""
        return self.phase.features is not None

    @property
    def parameter_counts(self) -> tuple[int, int]:
        """Number of parameters of the model, and of those that train now."""
        weights = list(self.model.parameters())
        return sum(map(Tensor.numel, weights)), sum(weight.numel() for weight in weights if weight.requires_grad)

    @property
    def micro_batch(self) -> int:
        """Number of images that a worker computes at once."""
        return self.memory.micro_batch

    @property
    def scaler_state(self) -> dict[str, float]:
        """State of the gradient scaler; empty where there is none."""
        scaler = self.accelerator.scaler
        return {} if scaler is None else scaler.state_dict()

    @property
    def frozen_digest(self) -> str | None:
        """Digest of the part of the model that training cannot have changed; None where there is no such part."""
        return frozen_digest(self.model.state_dict(), self.changed, self._known_digests)

    def _changed_tensors(self, module: nn.Module) -> dict[str, Tensor]:
        """Return the tensors of the model, or of its moving average, that training can have changed, by name.

        They are those of the module itself: nothing is copied.
        """
        names = self.changed if module is not self.ema else {_COUNTER, *(f"module.{name}" for name in self.changed)}
        return {name: tensor for name, tensor in module.state_dict().items() if name in names}

    def save_trained(self, folder: Path, state: CheckpointState) -> None:
        """Write a checkpoint of the model that is evaluated, from which nothing can continue."""
        save_checkpoint(folder, self._changed_tensors(self.trained), state)

    def save(self, folder: Path, state: CheckpointState, weights_in: Path | None = None) -> None:
        """Write a checkpoint from which the trial can continue; see `save_checkpoint`."""
        tensors, optimizer = self._changed_tensors(self.model), optimizer_tensors(self.optimizer)
        average = None if self.ema is None else self._changed_tensors(self.ema)
        save_checkpoint(folder, tensors, state, optimizer, average, weights_in=weights_in)

    def restore(self, folder: Path, state: CheckpointState) -> None:
        """Take over a checkpoint of the same configuration, whose `state` has been read."""
        for epoch in range(len(state.reports)):
            self.thaw(epoch)
        load_checkpoint(folder, self.model, self.optimizer, self.ema)
        self.memory.micro_batch = state.micro_batch
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)

    def wait(self) -> None:
        """Wait for the other workers."""
        self.accelerator.wait_for_everyone()

    def _predict(self, share: Indices, size: int) -> npt.NDArray[np.float32]:
        """Compute outputs of a share of the validation split, `size` images at once."""
        features, split = self.phase.features, self.images.val.split
        if features is None:
            return inference.predict_outputs(
                self.trained, split, self.mean, self.std, self.device, batch_size=size, rows=share
            )
        suffix = self.phase.part if self.ema is None else features.cut.suffix(self.trained)
        return inference.predict_features(suffix, features.validation, share, size)

    def _step(self, batch: Indices, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Take one optimizer step on the global batch; returns this rank's loss sum and the global weight."""
        config, prepared = self.config, self.phase.prepared
        partners = batch[::-1]
        draw = self._draw(epoch)
        weight = self.criterion.weight(self.criterion.targets(batch, partners, draw))
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        positions = np.array_split(np.arange(len(batch)), ranks)[rank]
        parts = np.array_split(positions, max(1, -(-len(positions) // self.memory.micro_batch)))
        # Dropout draws from torch's global stream: seeded a step, it depends on nothing that ran before.
        seed_step(config.seed, epoch, step, rank, self.device)
        self.optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for number, part in enumerate(parts):
            waiting = number < len(parts) - 1
            with self.accelerator.no_sync(prepared) if waiting else contextlib.nullcontext():
                outputs = prepared(self._inputs(batch[part], partners[part], epoch, draw))
                loss = self.criterion.loss(outputs, self.criterion.targets(batch[part], partners[part], draw))
                # The ranks' gradients are averaged, but the loss is a sum over ranks.
                self._backward(loss / weight * ranks)
            total += loss.detach().double()
        if config.clip_norm is not None:
            self.accelerator.clip_grad_norm_(prepared.parameters(), config.clip_norm)
        # Accelerate's own step looks for packages on the disk, every time; only the scaler of fp16 needs it.
        (self.optimizer if self.accelerator.scaler is None else self.phase.prepared_optimizer).step()
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        return total, weight

    def _inputs(self, indices: Indices, partners: Indices, epoch: int, draw: Draw) -> Tensor:
        """Images, or their features, of a part of a batch."""
        features = self.phase.features
        return self.images.train.images(indices, partners, draw) if features is None else features.batch(indices, epoch)

    def _backward(self, loss: Tensor) -> None:
        scaler = self.accelerator.scaler
        (loss if scaler is None else scaler.scale(loss)).backward()

    def _share(self, batch: Indices) -> Indices:
        """This rank's share of a global batch."""
        share: Indices = np.array_split(batch, self.accelerator.num_processes)[self.accelerator.process_index]
        return share

    def _build(self) -> nn.Module:
        model = self.task.build(self.config, self.arrays.classes)
        if self.config.sync_batchnorm and self.accelerator.num_processes > 1 and self.device.type == "cuda":
            model = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        model = model.to(self.device)
        return model.to(memory_format=torch.channels_last) if self.config.channels_last else model

    def _draw(self, epoch: int) -> Draw:
        return epoch_draw(self.config, epoch, self.plan.stages_at(epoch))

    def _changing(self) -> frozenset[str]:
        state = self.model.state_dict()
        if self.config.weights == "none":
            return frozenset(state)
        names = changing_names(self.model, self.config.norm_stats)
        if self.config.ema_decay is not None:  # an average of integers is rounded: it drifts where they stand still
            names |= {name for name, tensor in state.items() if not tensor.is_floating_point()}
        return names

    def _groups(self, names: frozenset[str], *, since: int) -> list[dict[str, Any]]:
        decay = self.config.weight_decay
        return [
            group
            for stage, own in self.stages.by_stage(names)
            for group in parameter_groups(
                self.model, own, stage=stage, peak_lr=peak_lr(self.config, stage), weight_decay=decay, since=since
            )
        ]

    def _normalization(self) -> tuple[Channels, Channels]:
        if self.config.normalization == "dataset":
            if self.config.weights != "none":
                log.warning(
                    "normalization: dataset with pretrained weights: they were trained on inputs normalized otherwise, "
                    "so that frozen layers see shifted inputs; `weights` is the safer choice"
                )
            return channel_stats(self.arrays.splits["train"].images)
        wanted: dict[str, Any] = resolve_data_config({}, model=self.model)  # type: ignore[no-untyped-call]
        return tuple(wanted["mean"]), tuple(wanted["std"])


def mean_loss(losses: Tensor, config: TrialConfig, epoch: int) -> float:
    """Return the mean loss of an epoch from the sums and the weights of its steps (2, steps).

    Raises TrialFailed where a sum is not finite.
    """
    sums, weights = losses.cpu().numpy()
    wrong = np.flatnonzero(~np.isfinite(sums))
    if len(wrong):
        raise TrialFailed(
            f"training loss must be finite, got {sums[wrong[0]]} in epoch {epoch + 1}, batch {wrong[0] + 1} of "
            f"{len(sums)}, with lr {config.lr:.2e}; lower the learning rate"
        )
    return float(sums.sum() / weights.sum())


def _accelerator(config: TrialConfig) -> Accelerator:
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise InvalidInput("precision: fp16 needs a GPU, but there is none; set bf16 or fp32")
    # Accelerate keeps its precision for the whole process, and refuses another; a warm worker runs trials of both.
    # There is no public way to say that one trial is over and another begins.
    AcceleratorState._reset_state()
    mixed = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}[config.precision]
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=mixed)


def seed_step(seed: int, epoch: int, step: int, rank: int, device: torch.device) -> None:
    """Seed the draws of dropout in a step.

    As torch.manual_seed does, which formats and keeps a traceback for every kind of absent device.
    """
    number = int(np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1)[0])
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def moving_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """Return the moving average of a model, of its buffers too; None without a decay."""
    if decay is None:
        return None
    blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=blend, use_buffers=True).requires_grad_(False)

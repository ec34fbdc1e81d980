"""Cost of training on this machine: time and memory of a few real steps of a phase, on a sample of the images.

A phase is a stretch of epochs in which the same stages train. What is timed is the trial's own code, its learner; so
a phase that trains on features is timed on features, and one that cannot says why.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainables.checkpoint_state import CheckpointState
from trainables.config import STRATEGY_PARAMETERS, TrialConfig
from trainables.data.arrays import Arrays, Split
from trainables.data.decode import decoding_fault
from trainables.data.fingerprint import Fingerprints
from trainables.data.lazy_images import LazyImages, Pixels
from trainables.data.node_cache import Array, NodeCache
from trainables.data.preprocess import load_image
from trainables.data.readers import Dataset, Sample, open_configured
from trainables.data_config import DataConfig
from trainables.fixed_views import fixed_views
from trainables.loop.checkpoint import tensor_digests
from trainables.loop.head_learner import TrialLearner, open_learner
from trainables.model.freeze_plan import Stages
from trainables.processor import use_processor

LEAST_SECONDS = 1.0
_STEPS = 2
_IMAGES = 128
_EPOCHS = 1000


@dataclass(frozen=True)
class ImageSample:
    """Some images of a data set, decoded, and how many there are of it."""

    arrays: Arrays
    counts: dict[str, int]
    """Images of the whole data set, by split; with folds, those of val are those of train."""

    decode: float
    """Seconds to decode an image, all cores at work."""


@dataclass(frozen=True)
class PhaseCost:
    """Cost of the epochs of a phase for one process with this many threads, or with its GPU. Times in seconds."""

    config: TrialConfig
    """Configuration that was measured: its strategy trains these stages from the start."""

    stages: Stages
    """Trainable stages, counted from the head."""

    parameters: int
    """Of the whole model."""

    trainable: int
    """Of these, what trains."""

    features: float | None
    """To compute the features of an image, which is done once a node; None where the phase trains on images."""

    start: float
    """To build the model with its weights, once a trial."""

    prepare: float
    """Extra time of the first epoch over the next: cutting the model, warming up; once per process."""

    image: float
    """Of an optimizer step, for each of its images."""

    validation: float
    """To validate, for each image."""

    checkpoint: float
    """To write a checkpoint, once an epoch."""

    memory: int
    """Peak, in bytes: of the process, or of the GPU's memory where there is one."""

    baseline: int
    """Of these, what was occupied before anything was built: the imports."""

    notes: tuple[str, ...] = ()
    """Why nothing is cached, or that a batch had to be divided."""


def sample_images(data: DataConfig, most: int, cache: Path) -> ImageSample:
    """Decode at most `most` images of the training split and a batch of the validation split, evenly spread.

    Nothing is written to the node's `cache` but the copy of a bucket or container. Raises InvalidInput for a data set
    or an image that cannot be read.
    """
    whole = open_configured(data, cache)
    splits = {name: _spread(whole.splits[name], least) for name, least in (("train", most), ("val", _IMAGES))}
    if data.on_bad_image == "skip":
        splits = {name: _decodable(whole, samples, data.max_pixels) for name, samples in splits.items()}
    dataset = replace(whole, splits=splits)
    began = time.perf_counter()
    arrays = {name: Split(_decode(dataset, name, data)) for name in splits}
    decode = (time.perf_counter() - began) / sum(map(len, arrays.values()))
    counts = {name: len(samples) for name, samples in whole.distinct_splits.items()}
    return ImageSample(Arrays(dataset, Fingerprints("sample", None, "sample"), arrays), counts, decode)


def measure_phase(config: TrialConfig, stages: Stages, sample: ImageSample, threads: int) -> PhaseCost:
    """Train a few steps of `config` with `stages` thawed. For a process of its own: the peak is of its whole life.

    Raises InvalidInput for a model that cannot be built, or lacks the stages; OutOfMemory when no image fits.
    """
    use_processor(threads)
    baseline = _peak()
    config = _from_the_start(config, stages)
    tensor_digests(config)  # reads the file of weights, once per process
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="thaw-plan-") as folder:
        cache = _TimedCache(Path(folder))
        on_features = stages != "all" and fixed_views(config) > 0
        arrays = _cut(sample.arrays, _IMAGES if on_features else _STEPS * config.batch_size)
        learner = open_learner(config, arrays, cache)
        learner.thaw(0)
        opened = cache.seconds
        start = time.perf_counter() - began - opened
        first = _seconds(lambda: learner.train_epoch(0, 0))
        cached = learner.cached
        later = _repeated(lambda: learner.train_epoch(1, 0))
        validation = _seconds(learner.validate)
        state = _state(learner)
        checkpoint = _seconds(lambda: learner.save(Path(folder) / "last", state))
    parameters, trainable = learner.parameter_counts
    return PhaseCost(
        config=config,
        stages=stages,
        parameters=parameters,
        trainable=trainable,
        features=cache.seconds / cache.rows if cached else None,
        start=start,
        prepare=max(0.0, first - later - (cache.seconds - opened)),
        image=later / len(arrays.splits["train"]),
        validation=validation / len(arrays.splits["val"]),
        checkpoint=checkpoint,
        memory=_peak(),
        baseline=baseline,
        notes=tuple(learner.notes),
    )


class _TimedCache(NodeCache):
    """Adds up how long it takes to compute what is asked for."""

    seconds = 0.0
    rows = 0

    def array(self, kind: str, key: str, shape: tuple[int, ...], *rest: Any, **more: Any) -> Array | None:
        began = time.perf_counter()
        found = super().array(kind, key, shape, *rest, **more)
        self.seconds += time.perf_counter() - began
        self.rows += shape[0]
        return found


def _from_the_start(config: TrialConfig, stages: Stages) -> TrialConfig:
    """Return the same trial, but that `stages` stages train from its first epoch on, and nothing ends it early."""
    match stages:
        case 0:
            plan: dict[str, Any] = {"strategy": "head"}
        case "all":
            plan = {"strategy": "full"}
        case _:
            plan = {"strategy": "partial", "trainable_stages": stages}
    others = {name: None for names in STRATEGY_PARAMETERS.values() for name in names}
    same = {"balance": "none", "scheduler": "constant", "patience": None, "epochs": _EPOCHS}
    return TrialConfig.model_validate({**config.model_dump(), **others, **same, **plan})


def _spread(samples: Sequence[Sample], most: int) -> tuple[Sample, ...]:
    count = min(most, len(samples))
    return tuple(samples[index] for index in np.linspace(0, len(samples) - 1, count).astype(int))


def _decodable(dataset: Dataset, samples: Sequence[Sample], max_pixels: int) -> tuple[Sample, ...]:
    """Return the samples that can be decoded; all where none can, whose decoding then says why."""

    def is_bad(sample: Sample) -> bool:
        return decoding_fault(dataset.read(sample), sample.path, max_pixels) is not None

    return tuple(sample for sample in samples if not is_bad(sample)) or tuple(samples)


def _decode(dataset: Dataset, split: str, data: DataConfig) -> Pixels:
    samples = dataset.splits[split]

    def decode(index: int) -> Pixels:
        sample = samples[index]
        name = dataset.named(sample.path)
        return load_image(dataset.read(sample), name, data.image_size, data.resize_mode, data.max_pixels)

    shape = (len(samples), data.image_size, data.image_size, 3)
    return LazyImages(decode, shape, os.cpu_count() or 1)[np.arange(len(samples))]


def _cut(arrays: Arrays, most: int) -> Arrays:
    train = arrays.splits["train"]
    # Evenly: the images are sorted by class.
    rows = np.linspace(0, len(train) - 1, min(most, len(train))).astype(int)
    assert isinstance(train.images, np.ndarray)
    samples = tuple(arrays.dataset.splits["train"][row] for row in rows)
    dataset = replace(arrays.dataset, splits={**arrays.dataset.splits, "train": samples})
    return replace(arrays, dataset=dataset, splits={**arrays.splits, "train": Split(train.images[rows])})


def _state(learner: TrialLearner) -> CheckpointState:
    return CheckpointState(
        config=learner.config,
        classes=learner.arrays.classes,
        fingerprint=learner.arrays.fingerprints.trained,
        mean=learner.mean,
        std=learner.std,
        reports=(),
        frozen_digest=learner.frozen_digest,
    )


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _repeated(action: Callable[[], object]) -> float:
    """Return the median time of as many runs as fill `LEAST_SECONDS`, one at least."""
    times: list[float] = []
    while sum(times) < LEAST_SECONDS:
        times.append(_seconds(action))
    return statistics.median(times)


def _peak() -> int:
    """Return the most memory so far, in bytes: of the GPU what torch has held, else what this process has occupied."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    # psutil reports what a process occupies now; only the system keeps the peak.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

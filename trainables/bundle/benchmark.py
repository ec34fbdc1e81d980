"""Benchmark of an exported model: what it costs on this machine, by runtime, number of threads and batch size.

Each runtime is measured in a process of its own, which has nothing else in its memory. PyTorch stands beside
onnxruntime where the folder of the model has its form for timm. This module imports neither: their memory counts.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

MODEL_FILE = "model.onnx"
"""Name of an exported model, of which all variants are made."""

_WARM_UP = 3
# Batches of a slow model, for which `seconds` are too short.
_FEWEST = 5

Run = Callable[[NDArray[np.float32]], object]


@dataclass(frozen=True)
class Measurement:
    """Measurement of one model in one runtime, with one batch size; JSON-ready."""

    model: str
    """Path of the model."""

    runtime: str
    """`onnxruntime` or `pytorch`."""

    device: str
    """onnxruntime's execution provider without its ending, as CPU or CUDA; PyTorch's device."""

    threads: int
    """Threads within an operator."""

    batch: int
    """Images at once."""

    p50: float
    """Seconds for a batch, from pixels in memory to logits in memory: median."""

    p95: float
    """95th percentile of the same."""

    p99: float
    """99th percentile of the same."""

    images_per_second: float
    """Images per second, one batch after the other."""

    batches: int
    """Batches that were timed."""

    load_seconds: float
    """Seconds from the file to a model that can run."""

    memory: int
    """Bytes by which the process has grown: runtime, model and the batches so far, the smaller ones first."""

    size: int
    """Bytes of the model on disk."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping of all fields."""
        return asdict(self)


@dataclass(frozen=True)
class Target:
    """Target: one runtime on one device, with so many threads."""

    runtime: str
    """`onnxruntime` or `pytorch`."""

    device: str
    """As in `Measurement`."""

    threads: int
    """Threads within an operator."""


@dataclass(frozen=True)
class _Loaded:
    """A model that can run: the function, the side of its images, its bytes on disk, and the seconds of loading."""

    run: Run
    image_size: int
    size: int
    seconds: float


def targets(model: Path, threads: Sequence[int]) -> list[Target]:
    """Return what can be measured here: every device of onnxruntime, and of PyTorch beside `model.onnx`, by timm.

    The number of threads matters to the CPU alone.
    """
    import onnxruntime

    # Azure's sends images to a service.
    named = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    found = [("onnxruntime", name) for name in named if name != "Azure"]
    if model.name == MODEL_FILE and _timm_folder(model).is_dir():
        import torch

        found += [("pytorch", name) for name in (["CUDA", "CPU"] if torch.cuda.is_available() else ["CPU"])]
    listed = [(runtime, device, count) for runtime, device in found for count in threads]
    return [Target(*each) for each in listed if each[1] == "CPU" or each[2] == threads[0]]


def measure(model: Path, target: Target, batches: Sequence[int], seconds: float) -> list[Measurement]:
    """Time each batch size for `seconds` in a new process, the smallest first.

    Raises InvalidInput for what is no model of thaw's, as Predictor does.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, model, target, sorted(batches), seconds).result()


def _measure(model: Path, target: Target, batches: Sequence[int], seconds: float) -> list[Measurement]:
    process = psutil.Process()
    before = process.memory_info().rss
    loaded = _LOADERS[target.runtime](model, target)
    found = []
    for batch in batches:
        shape = (batch, 3, loaded.image_size, loaded.image_size)
        times = _timed(loaded.run, np.random.default_rng(0).standard_normal(shape, dtype=np.float32), seconds)
        p50, p95, p99 = map(float, np.percentile(times, (50, 95, 99)))
        grown = process.memory_info().rss - before
        found.append(
            Measurement(
                str(model),
                *(target.runtime, target.device, target.threads, batch, p50, p95, p99),
                *(batch * len(times) / sum(times), len(times), loaded.seconds, grown, loaded.size),
            )
        )
    return found


def _timed(run: Run, images: NDArray[np.float32], seconds: float) -> list[float]:
    for _ in range(_WARM_UP):
        run(images)
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(times) < _FEWEST or time.perf_counter() < deadline:
        begun = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - begun)
    return times


def _onnxruntime(model: Path, target: Target) -> _Loaded:
    from trainables.bundle.predict import Predictor

    begun = time.perf_counter()
    predictor = Predictor.open(model, device=target.device, threads=target.threads)
    seconds = time.perf_counter() - begun
    return _Loaded(predictor.logits, predictor.preprocessing.image_size, model.stat().st_size, seconds)


def _pytorch(model: Path, target: Target) -> _Loaded:
    import timm
    import torch

    torch.set_num_threads(target.threads)
    folder, device = _timm_folder(model), target.device.lower()
    begun = time.perf_counter()
    network: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval().to(device)
    seconds = time.perf_counter() - begun

    def run(images: NDArray[np.float32]) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(images).to(device)).cpu()

    size = sum(path.stat().st_size for path in folder.iterdir())
    return _Loaded(run, network.pretrained_cfg["input_size"][-1], size, seconds)


_LOADERS: dict[str, Callable[[Path, Target], _Loaded]] = {"onnxruntime": _onnxruntime, "pytorch": _pytorch}


def _timm_folder(model: Path) -> Path:
    return model.parent / "timm"

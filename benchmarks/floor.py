"""The floor: the arithmetic of a sweep in bare PyTorch, on tensors that are in memory already.

What no way of running the same trials could leave out: the features of each architecture once, then the heads on them;
the frozen prefix of a partial trial once, then what comes after it; everything of a full trial; and the validation
split after each epoch. No decoding, no checkpoint, no bookkeeping; the C library keeps freed memory, as in Thaw. A
process of one thread a core takes up the next trial when it has finished one, as Thaw's workers do. Imports and
preparation are measured by themselves. Prints one line of JSON.
"""

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from setting import ARCHITECTURES, BATCH, EPOCHS, SIZE, WEIGHTS, process_age
from torch import Tensor, nn

from trainables.data.arrays import load_arrays
from trainables.data_config import DataConfig
from trainables.model.device_memory import forward_batch
from trainables.model.stages import stage_table
from trainables.processor import use_processor
from trainables.task import inference

WORKERS = len(os.sched_getaffinity(0))
# As many at once as Thaw takes.
FORWARD = forward_batch(SIZE, torch.device("cpu"))
_images: dict[str, dict[str, Tensor]] = {}
_labels: dict[str, Tensor] = {}


def main() -> None:
    """Compute the points of a JSON file on the photos of a folder, decoded into a cache folder."""
    points, root, cache_folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), Path(sys.argv[3])
    ready = multiprocessing.Manager().Barrier(WORKERS)
    context = multiprocessing.get_context("spawn")
    data = DataConfig(root=root, image_size=SIZE, resize_mode="squash")
    load_arrays(data, cache_folder)
    with ProcessPoolExecutor(WORKERS, context, prepare, (data, cache_folder)) as pool:
        list(pool.map(wait, [ready] * WORKERS))
        preparation = process_age()
        started = time.perf_counter()
        # What is frozen, once for all trials that share it.
        prefixes = sorted({key for point in points if (key := prefix_of(point)) is not None})
        features = dict(zip(prefixes, pool.map(compute_features, prefixes), strict=True))
        shared = time.perf_counter() - started
        work = [(point, features.get(prefix_of(point))) for point in points]
        objectives = list(pool.map(train, work))
        seconds = time.perf_counter() - started
    found = {"seconds": seconds, "features": shared, "imports": preparation, "objective": max(objectives)}
    print(json.dumps(found))


def prepare(data: DataConfig, cache_folder: Path) -> None:
    """Make a worker ready: normalized images and labels of both splits in its memory."""
    use_processor(1)
    arrays = load_arrays(data, cache_folder)
    for name, split in arrays.splits.items():
        _labels[name] = torch.from_numpy(arrays.dataset.labels(name))
        images = split.batch(np.arange(len(split)), torch.device("cpu"))
        for architecture in ARCHITECTURES:
            wanted = timm.get_pretrained_cfg(architecture)
            inputs = inference.to_input(images, wanted.mean, wanted.std)
            _images.setdefault(architecture, {})[name] = inputs.contiguous(memory_format=torch.channels_last)


def wait(barrier: Any) -> None:
    """Return when every worker is ready."""
    barrier.wait()


def prefix_of(point: dict[str, Any]) -> tuple[str, int] | None:
    """Which frozen prefix a point has: its architecture and how many stages train; None where everything trains."""
    return None if point["strategy"] == "full" else (point["architecture"], point.get("trainable_stages", 0))


@cache
def weights(architecture: str) -> dict[str, Tensor]:
    """The pretrained weights but for the classifier."""
    tensors = load_file(WEIGHTS / f"{architecture}.safetensors")
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier")}


def parts(architecture: str, stages: int | None) -> tuple[nn.Module, nn.Module]:
    """The frozen prefix of a fresh model, and the rest; for EfficientNet's and MobileNetV3's classes in timm."""
    torch.manual_seed(42)
    model: Any = timm.create_model(architecture, num_classes=6)
    model.load_state_dict(weights(architecture), strict=False)
    model = model.to(memory_format=torch.channels_last)  # quicker on a CPU
    if stages is None:
        return nn.Identity(), model
    trainable = stage_table(model).trainable(stages)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in trainable
    if stages == 0:
        classifier = model.get_classifier()
        model.reset_classifier(0)
        return model.eval(), classifier
    frozen = [not any(p.requires_grad for p in block.parameters()) for block in model.blocks].count(True)
    prefix = nn.Sequential(model.conv_stem, model.bn1, *model.blocks[:frozen])
    model.conv_stem, model.bn1, model.blocks = nn.Identity(), nn.Identity(), model.blocks[frozen:]
    return prefix.eval(), model


@torch.no_grad()
def compute_features(key: tuple[str, int]) -> dict[str, Tensor]:
    """Features of the prefix for the images of both splits."""
    prefix, _ = parts(*key)
    return {name: torch.cat([prefix(part) for part in own.split(FORWARD)]) for name, own in _images[key[0]].items()}


def train(work: tuple[dict[str, Any], dict[str, Tensor] | None]) -> float:
    """One trial; its best macro-F1 on the validation split."""
    point, features = work
    inputs, labels = features or _images[point["architecture"]], _labels
    _, model = parts(point["architecture"], None if features is None else point.get("trainable_stages", 0))
    counts = torch.bincount(labels["train"])
    balanced = len(labels["train"]) / (len(counts) * counts.float())
    criterion = nn.CrossEntropyLoss(weight=balanced if point["balance"] == "loss" else None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=point["lr"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    best = 0.0
    for _ in range(EPOCHS):
        model.train()
        for batch in torch.randperm(len(labels["train"])).split(BATCH):
            optimizer.zero_grad()
            criterion(model(inputs["train"][batch]), labels["train"][batch]).backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            predicted = torch.cat([model(part) for part in inputs["val"].split(FORWARD)]).argmax(dim=1)
        best = max(best, macro_f1(predicted, labels["val"]))
    return best


def macro_f1(predicted: Tensor, labels: Tensor) -> float:
    """Mean over the classes of 2 x hits / (images of it + images taken for it)."""
    scores = [
        2 * ((predicted == c) & (labels == c)).sum() / ((predicted == c).sum() + (labels == c).sum()) for c in range(6)
    ]
    return float(torch.stack(scores).mean())


if __name__ == "__main__":
    main()

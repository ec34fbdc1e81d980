"""Does `train()` keep a GPU as busy as the bare loop does? Writes `benchmarks/gpu.md`.

Images a second of full fine-tuning at 224 px in bf16 and channels-last, through `train()` and no Ray, against the same
step on one synthetic batch that never leaves the device, and against the step fed by a DataLoader that decodes with
Pillow. Then `train()` in each precision, on cached features, and with batches that the device has no memory for.
`--smoke` runs everything small on a CPU, to see that it runs; its figures mean nothing.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from setting import machine
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from trainables.config import TrialConfig
from trainables.loop.train import train
from trainables.result import EpochReport
from trainables.storage.folders import TrialFolders

RESULTS = Path(__file__).with_suffix(".md")


@dataclass(frozen=True)
class Scale:
    """Sizes of the measurement."""

    architectures: tuple[str, ...] = ("resnet50", "efficientnet_b0", "mobilenetv3_large_100")
    size: int = 224
    images: int = 8192
    batch: int = 256
    epochs: int = 4
    steps: int = 60
    precision: str = "bf16"
    too_large: int = 4096
    """Batch of fp32 images that does not fit."""


SMOKE = Scale(("test_efficientnet",), size=32, images=64, batch=16, epochs=2, steps=3, too_large=64)


def main() -> None:
    """Measure every architecture in the three ways and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true", help="small, on any machine, nothing written")
    smoke = parser.parse_args().smoke
    scale = SMOKE if smoke else Scale()
    if not smoke and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; --smoke runs the same small on the CPU")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        root = write_photos(Path(temporary) / "photos", scale)
        for architecture in scale.architectures:
            ours = through_train(architecture, root, Path(temporary) / architecture, scale)
            bare = loop(architecture, synthetic(scale, device), scale, device)
            pillow = loop(architecture, decoded(root, scale), scale, device)
            rows.append(f"| {architecture} | {ours:.0f} | {bare:.0f} | {ours / bare:.2f} | {pillow:.0f} |")
            print(rows[-1], flush=True)
        variants = [varied(name, own, root, Path(temporary) / name, scale) for name, own in variations(scale)]
    table, others = "\n".join(rows), "\n".join(variants)
    text = f"""# Images a second on a GPU

`python benchmarks/gpu.py` on {name}, {machine()}; {scale.size} px, {scale.precision}, channels-last, batches of \
{scale.batch}, AdamW. `train()`: the fastest epoch of {scale.epochs}, over {scale.images} images, with its validation
on 4 images, decoded images in the node's cache. DataLoader: Pillow, {workers()} workers.

| architecture | `train()` | synthetic tensors | `train()` / synthetic | DataLoader |
|---|---|---|---|---|
{table}

The same of {scale.architectures[0]} with one setting changed. A batch that does not fit is divided until it does.

| setting | images/s | GiB at most | loss of the last epoch | notes |
|---|---|---|---|---|
{others}
"""
    print(text)
    if not smoke:
        RESULTS.write_text(text)


def write_photos(root: Path, scale: Scale) -> Path:
    """Noise as JPEG files a little larger than what the model sees, in two classes; returns `root`."""
    chance, side = np.random.default_rng(0), scale.size * 8 // 7
    for split, count in (("train", scale.images), ("val", 4)):
        for number in range(count):
            path = root / split / str(number % 2) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Blown up from few pixels: as smooth, and as quick to decode, as photos are.
            coarse = Image.fromarray(chance.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
    return root


def variations(scale: Scale) -> list[tuple[str, dict[str, Any]]]:
    """Names and settings of the second table."""
    names = ("fp32", "fp16", "bf16") if torch.cuda.is_available() else ("fp32", "bf16")
    precisions = [(f"precision: {name}", {"precision": name}) for name in names]
    too_large = {"batch_size": scale.too_large, "precision": "fp32"}
    return [
        *precisions,
        ("strategy: head", {"strategy": "head"}),
        (f"batch_size: {scale.too_large}, precision: fp32", too_large),
    ]


def varied(name: str, own: dict[str, Any], root: Path, folder: Path, scale: Scale) -> str:
    """Row of the second table."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    reports = reports_of(scale.architectures[0], root, folder, scale, **own)
    memory = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
    notes = "; ".join(note for report in reports for note in report.notes)
    rate = scale.images / min(report.seconds for report in reports)
    row = f"| `{name}` | {rate:.0f} | {memory:.1f} | {reports[-1].metrics['train/loss']:.3f} | {notes} |"
    print(row, flush=True)
    return row


def through_train(architecture: str, root: Path, folder: Path, scale: Scale) -> float:
    """Images a second of the fastest epoch."""
    return scale.images / min(report.seconds for report in reports_of(architecture, root, folder, scale))


def reports_of(architecture: str, root: Path, folder: Path, scale: Scale, **own: Any) -> list[EpochReport]:
    """Reports of a trial, full fine-tuning unless `own` says otherwise."""
    settings = {
        "data": {"root": root, "image_size": scale.size, "resize_mode": "squash"},
        "architecture": architecture,
        "weights": "none",
        "strategy": "full",
        "epochs": scale.epochs,
        "batch_size": scale.batch,
        "lr": 1e-4,
        "precision": scale.precision,
        "channels_last": True,
    }
    folders = TrialFolders(folder / "checkpoints", folder / "predictions.parquet", root.parent / "cache")
    return list(train(TrialConfig.model_validate(settings | own), folders))


def loop(architecture: str, batches: Iterable[tuple[Tensor, Tensor]], scale: Scale, device: torch.device) -> float:
    """Images a second of the bare loop over `batches`; a few steps go before."""
    model = timm.create_model(architecture, num_classes=2).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    criterion, seen, started = nn.CrossEntropyLoss(), 0, 0.0
    warm_up = max(1, scale.steps // 6)
    for step, (images, labels) in zip(range(scale.steps + warm_up), batches, strict=False):
        if step == warm_up:
            synchronize(device)
            started = time.perf_counter()
        images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = criterion(model(images), labels.to(device, non_blocking=True))
        loss.backward()
        optimizer.step()
        seen += len(images) * (step >= warm_up)
    synchronize(device)
    return seen / (time.perf_counter() - started)


def synthetic(scale: Scale, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The same batch for ever, on the device."""
    images = torch.randn(scale.batch, 3, scale.size, scale.size, device=device)
    return repeat((images, torch.zeros(scale.batch, dtype=torch.int64, device=device)))


def decoded(root: Path, scale: Scale) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches that worker processes decode, epoch after epoch."""
    transform = transforms.Compose(
        [
            transforms.Resize((scale.size, scale.size)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    loader = DataLoader(
        ImageFolder(root / "train", transform),
        batch_size=scale.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers(),
        pin_memory=torch.cuda.is_available(),
        persistent_workers=True,
    )
    return chain.from_iterable(repeat(loader))


def workers() -> int:
    """One decoding process a core."""
    return len(os.sched_getaffinity(0))


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()

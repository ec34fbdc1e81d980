"""Shared parts of all benchmarks: real photos and weights, trials, child processes, and how figures are written."""

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

ASSETS = Path(os.environ.get("THAW_TEST_ASSETS", Path(__file__).parents[2] / "shared"))
WEIGHTS = ASSETS / "weights"

Point = dict[str, Any]
ARCHITECTURES = ("mobilenetv2_100", "tf_mobilenetv3_small_100")
SIZE = 96
EPOCHS = 6
BATCH = 32


def head_points(count: int) -> list[Point]:
    """Head trials, a multiple of 4: both architectures, learning rate x balance."""
    rates = {8: (1e-3, 3e-3), 16: (1e-3, 3e-3, 1e-2, 3e-2)}.get(count, [1e-4 * 1.5**n for n in range(count // 4)])
    return [
        {"architecture": architecture, "strategy": "head", "lr": lr, "balance": balance}
        for lr, balance, architecture in itertools.product(rates, ("none", "loss"), ARCHITECTURES)
    ]


def mixed_points() -> list[Point]:
    """2 full, 2 partial and 8 head trials; the long ones first, on every side."""
    full = {"strategy": "full", "lr": 3e-4, "balance": "none"}
    partial = {"strategy": "partial", "trainable_stages": 2, "lr": 1e-3, "balance": "none"}
    return [{"architecture": a, **point} for point in (full, partial) for a in ARCHITECTURES] + head_points(8)


def photo_sweep(folder: Path, points: Sequence[Point]) -> dict[str, Any]:
    """A sweep of exactly these points on TrashNet, unpacked below `folder`, with nothing cached yet."""
    return {
        "name": "bench",
        "data": {"root": trashnet(folder), "image_size": SIZE, "resize_mode": "squash"} | {"weights_dir": WEIGHTS},
        "trial": {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "adamw", "scheduler": "cosine"},
        "space": {
            "architecture": {"choice": list(ARCHITECTURES)},
            "strategy": {"choice": ["head", "partial", "full"]},
            "trainable_stages": {"int": [1, 3], "when": {"strategy": "partial"}},
            "lr": {"log": [1e-5, 1e-1]},
            "balance": {"choice": ["none", "loss"]},
        },
        "search": {"trials": len(points), "points": list(points)},
        "stopping": "none",
        "tracking": {"wandb": {"mode": "disabled"}},
        "storage": {"root": folder / "runs", "cache_dir": folder / "cache"},
    }


def trashnet(folder: Path) -> Path:
    """Unpack the photos of TrashNet (6 classes, 1,764 + 378 + 379) into `folder`; returns their root."""
    if (folder / "trashnet6").is_dir():
        return folder / "trashnet6"
    with tarfile.open(ASSETS / "data" / "trashnet6.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "trashnet6"


def few_photos(folder: Path) -> Path:
    """TrashNet with one training photo in eight (224 + 378 + 379), into `folder`; returns their root."""
    root = folder / "few"
    if not root.is_dir():
        shutil.copytree(trashnet(folder), root)
        for kind in (root / "train").iterdir():
            for index, photo in enumerate(sorted(kind.iterdir())):
                if index % 8:
                    photo.unlink()
    return root


def card_crops(folder: Path) -> Path:
    """Cut the playing cards (6 classes, 469 + 101 + 100) out of their photos, into `folder`; returns their root."""
    root = folder / "crops"
    if root.is_dir():
        return root
    with tarfile.open(ASSETS / "data" / "cards.tar") as archive:
        archive.extractall(folder, filter="data")
    for split in ("train", "val", "test"):
        photos = folder / "cards" / split
        coco = json.loads((photos / "_annotations.coco.json").read_text())
        classes = {each["id"]: each["name"] for each in coco["categories"]}
        names = {each["id"]: each["file_name"] for each in coco["images"]}
        for box in coco["annotations"]:
            x, y, width, height = box["bbox"]
            target = root / split / classes[box["category_id"]] / f"{box['id']:05}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(photos / names[box["image_id"]]) as photo:
                photo.convert("RGB").crop((round(x), round(y), round(x + width), round(y + height))).save(target)
    return root


def write_json(path: Path, value: Any) -> Path:
    """Write `value`, paths as text; YAML readers take it too. Returns `path`."""
    path.write_text(json.dumps(value, default=str))
    return path


def child(script: str, *arguments: object) -> dict[str, Any]:
    """Run a file of this folder in a process of its own, so that nothing is warm; returns the JSON it prints last.

    `command` is added: seconds from its start to its end.
    """
    started = time.perf_counter()
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
    # Thaw turns off Tune's own result files in the environment of its processes, and of their children.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TUNE_", "RAY_"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    found["command"] = time.perf_counter() - started
    print(f"  {script} {' '.join(map(str, arguments[1:]))}: {shortly(found)}", flush=True)
    return found


def shortly(values: dict[str, Any]) -> str:
    """The numbers of a result in one line."""
    return ", ".join(f"{key} {value:.3g}" for key, value in values.items() if isinstance(value, int | float))


def process_age() -> float:
    """Seconds since this process was started: at the end of the imports, what they took."""
    return time.time() - psutil.Process().create_time()


def peak_memory() -> float:
    """Most memory of this process so far, MiB.

    Not `ru_maxrss`, which a process inherits from the one that starts it.
    """
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) / 1024


def spread(values: Sequence[float], unit: str = "", digits: int = 1) -> str:
    """`median (minimum to maximum)` of the repeats."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f}{unit} ({low:.{digits}f} to {high:.{digits}f})"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Of each repeat, the first figure over the second."""
    return [a / b for a, b in zip(above, below, strict=True)]


def left_out(found: Sequence[dict[str, Any]], side: str) -> str:
    """Work done once per sweep, and no part of a side's seconds."""
    ray, imports = (spread([each[key] for each in found], " s") for key in ("ray", "imports"))
    return f"left out of {side}: Ray's start {ray}, the driver's imports {imports}"


def repeats() -> int:
    """The one option of a benchmark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is measured")
    return int(parser.parse_args().repeats)


def machine() -> str:
    """One line that says what the figures were measured on."""
    memory = round(psutil.virtual_memory().total / 2**30)
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("torch", "timm", "ray", "accelerate")
        if importlib.util.find_spec(name) is not None
    )
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({platform.machine()}), {memory} GiB, Python {platform.python_version()}, {versions}"

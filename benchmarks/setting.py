"""What all benchmarks share: the real photos and weights, and a line about the machine."""

import importlib.metadata
import os
import platform
import tarfile
from pathlib import Path

import psutil

ASSETS = Path(os.environ.get("THAW_TEST_ASSETS", Path(__file__).parents[2] / "shared"))
WEIGHTS = ASSETS / "weights"


def trashnet(folder: Path) -> Path:
    """Unpack the photos of TrashNet (6 classes, 1,764 + 378 + 379) into `folder`; returns their root."""
    with tarfile.open(ASSETS / "data" / "trashnet6.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "trashnet6"


def machine() -> str:
    """One line that says what the figures were measured on."""
    memory = round(psutil.virtual_memory().total / 2**30)
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "timm", "ray", "accelerate")
    )
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({platform.machine()}), {memory} GiB, Python {platform.python_version()}, {versions}"

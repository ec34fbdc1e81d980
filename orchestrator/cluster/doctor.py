"""Doctor: equipment of this machine, and the parts that a sweep would miss on it."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cluster.limits import allowed_cores, allowed_memory
from orchestrator.cluster.node_probe import NodeQuestion
from orchestrator.spec.sections import Wandb
from orchestrator.tracking.weights_biases.service import resolve_mode
from search_spaces.errors import InvalidInput, StorageFailed
from trainables.config import TrialConfig
from trainables.data.readers import open_configured
from trainables.data_config import DataConfig
from trainables.storage.bucket import BucketPath
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place, check_writable

CHECKED_PACKAGES = (
    "thaw",
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "ray",
    "optuna",
    "wandb",
    "onnx",
    "onnxruntime",
)
ENOUGH_DISK_GB = 5


@dataclass(frozen=True)
class Check:
    """Check: one line of the doctor's report."""

    name: str
    found: str
    ok: bool
    remedy: str = ""


def examine(cache: Path | None = None, storage: Place | None = None) -> list[Check]:
    """Check Python, packages, devices, memory, disks and W&B; change nothing."""
    checks = [
        Check("python", f"{platform.python_version()} ({sys.executable})", sys.version_info >= (3, 11)),
        *(_package(name) for name in CHECKED_PACKAGES),
        Check("cpu", f"{allowed_cores()} cores, {allowed_memory() / 1e9:.0f} GB of memory", ok=True),
        _gpu(),
        _folder("cache", cache_folder(cache)),
        _bucket("storage", storage) if isinstance(storage, BucketPath) else _folder("storage", storage or Path("runs")),
    ]
    return [*checks, _wandb()]


def _wandb() -> Check:
    try:
        mode = resolve_mode(Wandb())
    except InvalidInput as error:
        return Check("wandb", "unknown mode", ok=False, remedy=str(error))
    hint = "" if mode == "online" else "runs stay on this machine; `wandb login` or WANDB_API_KEY for online"
    return Check("wandb", mode, ok=True, remedy=hint)


def examine_data(data: DataConfig, configs: Iterable[TrialConfig], cache: Path | None = None) -> list[Check]:
    """Check the photos on this machine, which are listed and not opened, and the weights of `configs`.

    What lies in a bucket, or within other files, is copied below `cache`, as a sweep does it.
    """
    from trainables.model.weights import weights_files, weights_path  # imports torch

    root, manifest = data.root, data.manifest
    checks = []
    try:
        dataset = open_configured(data, cache_folder(cache))
        found = f"{manifest or root}, {len(dataset.classes)} classes, images: {dataset.counts_text}"
        checks.append(Check("data", found, ok=True))
    except (InvalidInput, StorageFailed) as error:
        checks.append(Check("data", str(manifest or root), ok=False, remedy=str(error)))
    paths = {path: config for config in configs if (path := weights_path(config)) is not None}
    for path in sorted(paths, key=str):
        try:
            checks += [Check("weights", str(file), ok=True) for file in [*weights_files(paths[path])]]
        except (InvalidInput, StorageFailed) as error:
            checks.append(Check("weights", str(path), ok=False, remedy=str(error)))
    return checks


def doctor_nodes(address: str, question: NodeQuestion, folder: Path) -> list[Check]:
    """Check every node of the Ray cluster at `address` with `question`; leave no files behind.

    Raises InvalidInput where no cluster answers.
    """
    from orchestrator.cluster.node_checks import examine_cluster

    checks: list[Check] = []
    for node in examine_cluster(address, question, folder):
        name = f"node {node.name}"
        checks += [Check(name, node.resources, False, complaint) for complaint in node.complaints] or [
            Check(name, node.resources, ok=True)
        ]
    return checks


def _package(name: str) -> Check:
    try:
        return Check(name, importlib.metadata.version(name), ok=True)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "not installed", ok=False, remedy="install thaw[train]")


def _gpu() -> Check:
    import torch

    count = torch.cuda.device_count()
    if count == 0:
        return Check("gpu", "none; trials run on the CPU", ok=True)
    names = {torch.cuda.get_device_properties(index).name for index in range(count)}
    return Check("gpu", f"{count} x {', '.join(sorted(names))}", ok=True)


def _folder(name: str, folder: Path) -> Check:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free / 1e9
    writable = there.is_dir() and os.access(there, os.W_OK)
    remedy = "" if writable else f"make {there} a writable folder, or set another folder in `storage`"
    if writable and free < ENOUGH_DISK_GB:
        remedy = f"free some space: a sweep needs about {ENOUGH_DISK_GB} GB"
    return Check(name, f"{folder}, {free:.0f} GB free", writable and free >= ENOUGH_DISK_GB, remedy)


def _bucket(name: str, place: BucketPath) -> Check:
    try:
        check_writable(place)
    except StorageFailed as error:
        return Check(name, str(place), ok=False, remedy=str(error))
    return Check(name, f"{place}, may be written", ok=True)

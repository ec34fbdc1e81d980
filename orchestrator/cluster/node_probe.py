"""Probe of one node of a cluster. Standard library only, and AWS's client for a bucket: Thaw may be missing there.

The probe is sent to the nodes by value, so that a node without Thaw, or with an old one, can still answer.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class NodeQuestion:
    """NodeQuestion: question to every node. It is sent as a plain mapping, like the answer: a node may lack Thaw."""

    packages: tuple[str, ...]
    """Distributions whose versions are requested."""

    cache: str
    """Node-local cache."""

    folders: dict[str, str] = field(default_factory=dict)
    """Folders and files that must be readable, by the key of the sweep file that names them."""

    buckets: dict[str, str] = field(default_factory=dict)
    """Places in buckets, `s3://bucket/prefix`, that must be within reach, by the same keys."""

    run: str | None = None
    """Run folder, in which the node writes a test file."""

    token: str = ""
    """Name of a file that the driver has written there."""

    images: dict[str, int] = field(default_factory=dict)
    """Some of the images, with their sizes in bytes."""

    devices: bool = False
    """True where PyTorch is asked for GPUs, which takes seconds."""


def probe_node(question: dict[str, Any]) -> dict[str, Any]:
    """Answer a NodeQuestion on the node where this runs; the driver judges the answer."""
    cache = Path(question["cache"])
    return {
        "executable": sys.executable,
        "versions": versions(question["packages"]),
        "unreadable": [key for key, path in question["folders"].items() if not os.access(path, os.R_OK)],
        "unreachable": {key: reason for key, place in question["buckets"].items() if (reason := _refusal(place))},
        "wrong_images": [path for path, size in question["images"].items() if _size(path) != size],
        "sees_driver": question["run"] is None or Path(question["run"], question["token"]).is_file(),
        "left": _leave(question["run"]),
        "cache_error": _write_below(cache),
        "cache_free": shutil.disk_usage(_existing(cache)).free,
        "gpus": _gpus() if question["devices"] else None,
    }


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Return the versions of Python, as far as they must agree, and of `packages`; None where one is not installed."""
    return {"python": ".".join(platform.python_version_tuple()[:2]), **{name: _version(name) for name in packages}}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except OSError:
        return None


def _refusal(place: str) -> str | None:
    """Return why this node cannot list a place in a bucket; None where it can."""
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        return str(error)
    try:
        config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3, "mode": "standard"})
        boto3.client("s3", config=config).list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except (BotoCoreError, ClientError, ValueError) as error:
        return str(error)
    return None


def _leave(run: str | None) -> str | None:
    """Write a file into the run folder; return its name, or None where that fails. Folders are not made."""
    if run is None:
        return None
    path = Path(run, f".node-{uuid.uuid4().hex}")
    try:
        path.touch()
    except OSError:
        return None
    return path.name


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _write_below(folder: Path) -> str | None:
    """Return why no file can be written into `folder`, or its nearest existing parent; None where one can."""
    path = _existing(folder) / f".thaw-{uuid.uuid4().hex}"
    try:
        path.touch()
        path.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _gpus() -> int | str:
    """Return the number of GPUs that PyTorch sees, or an error. Runs in a process from which Ray hides no GPU."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    command = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd="/")
    return int(ended.stdout) if ended.returncode == 0 else (ended.stderr.strip().splitlines() or ["no output"])[-1]

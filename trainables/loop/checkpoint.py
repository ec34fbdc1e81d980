"""Checkpoints: a folder with safetensors and one JSON state. No pickle is written or read."""

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from search_spaces.errors import InvalidInput
from search_spaces.permissions import check_readable, permission_errors
from search_spaces.user_files import RECORD, open_user_file, read_user_file
from search_spaces.user_files import WEIGHTS as WEIGHTS_FILE
from trainables.config import TrialConfig
from trainables.result import EpochReport
from trainables.storage.folders import usual_mode
from trainables.task.task import load_task

WEIGHTS, OPTIMIZER, AVERAGE, STATE = "model.safetensors", "optimizer.safetensors", "ema.safetensors", "state.json"


class CheckpointState(BaseModel):
    """State of a checkpoint besides tensors: enough to continue, to export, and to identify the training."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    config: TrialConfig
    classes: tuple[str, ...]
    fingerprint: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    reports: tuple[EpochReport, ...]
    micro_batch: int = 1
    metrics_version: int = 1
    scaler: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the state of a checkpoint folder; raises InvalidInput when it is missing or unreadable."""
        path = _complete(folder) / STATE
        check_readable(path)
        try:
            return cls.model_validate_json(read_user_file(path, RECORD), extra="ignore")
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"checkpoint must be a folder written by Thaw, got {folder} ({type(error).__name__}); "
                "train the trial again"
            ) from error


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    state: CheckpointState,
    optimizer: torch.optim.Optimizer | None = None,
    average: nn.Module | None = None,
    *,
    weights_in: Path | None = None,
) -> None:
    """Write the checkpoint beside `folder`, then move it into place; if that is interrupted, the old one is read.

    `weights_in` is a checkpoint that has just been written with the same weights: they are shared, not written again.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    if weights_in is None:
        _save(model.state_dict(), fresh / WEIGHTS)
    else:
        _share(weights_in / WEIGHTS, fresh / WEIGHTS)
    if optimizer is not None:
        _save(_optimizer_tensors(optimizer), fresh / OPTIMIZER)
    if average is not None:
        _save(average.state_dict(), fresh / AVERAGE)
    (fresh / STATE).write_text(state.model_dump_json(exclude_none=True))
    _flush(fresh / STATE)
    old = _old(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    average: nn.Module | None = None,
) -> None:
    """Load the tensors of a checkpoint into a model, an optimizer and a moving average of the same shape.

    Raises InvalidInput when a file of it is missing or unreadable.
    """
    folder = _complete(folder)
    model.load_state_dict(_load(folder / WEIGHTS))
    if optimizer is not None:
        _restore_optimizer(optimizer, _load(folder / OPTIMIZER))
    if average is not None:
        average.load_state_dict(_load(folder / AVERAGE))


def load_trained(folder: Path) -> tuple[nn.Module, CheckpointState]:
    """Load the trained model of a checkpoint, on the CPU in eval mode, with its state."""
    state = CheckpointState.read(folder)
    model = load_task(state.config.task).build(state.config, state.classes, bare=True)
    load_checkpoint(folder, model)
    return model.eval(), state


def exists(folder: Path) -> bool:
    """Return whether a complete checkpoint is there, be it only the one an interrupted write was about to replace.

    Raises InvalidInput where this user may not look, or may not read it.
    """
    path = _complete(folder) / STATE
    check_readable(path)
    return path.is_file()


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _complete(folder: Path) -> Path:
    """Return the folder itself or, when a write was interrupted between its two renames, the old one."""
    with permission_errors(folder):
        return folder if folder.exists() or not _old(folder).exists() else _old(folder)


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    plain: dict[str, Tensor] = {}
    stored: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        # Tied weights share memory, which safetensors refuses.
        plain[name] = own.clone() if own.untyped_storage().data_ptr() in stored else own
        stored.add(own.untyped_storage().data_ptr())
    try:
        with usual_mode(path):  # safetensors makes its files private
            save_file(plain, path)
    except SafetensorError as error:  # it has no number, and says it: a disk that is full has to be known as such
        number = int(found[1]) if (found := re.search(r"os error (\d+)", str(error))) else errno.EIO
        raise OSError(number, os.strerror(number)) from error
    _flush(path)


def _share(source: Path, target: Path) -> None:
    # Files of checkpoints are replaced, never written into, so that two names of one file are safe.
    try:
        target.hardlink_to(source)
    except OSError:  # not every network file system has links
        shutil.copyfile(source, target)
        _flush(target)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _load(path: Path) -> dict[str, Tensor]:
    check_readable(path)
    try:
        open_user_file(path, WEIGHTS_FILE).close()  # refuses what is no regular file
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InvalidInput(
            f"checkpoint must hold {path.name}, got none that is readable in {path.parent} ({type(error).__name__}); "
            "only `last` holds the optimizer's state: go on from there, or train the trial again"
        ) from error


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        json.dumps([key, name]): value
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        for key, value in optimizer.state[parameter].items()
        if value is not None
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    by_parameter: dict[str, dict[str, Any]] = {}
    for label, tensor in tensors.items():
        key, name = json.loads(label)
        by_parameter.setdefault(name, {})[key] = tensor
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            if name in by_parameter:
                optimizer.state[parameter] = {
                    key: _beside(parameter, value, counter_stays=key == "step" and not group.get("fused"))
                    for key, value in by_parameter[name].items()
                }


def _beside(parameter: nn.Parameter, value: Tensor, *, counter_stays: bool) -> Tensor:
    """Return a value on its parameter's device and in its layout, which fused optimizers take for granted."""
    if counter_stays:
        return value
    if value.shape == parameter.shape:
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    return value.to(parameter.device)

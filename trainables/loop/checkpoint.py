"""Checkpoints: a folder with safetensors and one JSON state. No pickle is written or read."""

import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from search_spaces.errors import InvalidInput, StorageFailed
from search_spaces.permissions import check_readable
from search_spaces.user_files import WEIGHTS as WEIGHTS_FILE
from search_spaces.user_files import open_user_file
from trainables.checkpoint_state import STATE, CheckpointState, check_one_model, complete_folder, old_folder
from trainables.config import TrialConfig
from trainables.loop.source_files import weights_digests
from trainables.model.weights import check_frozen_part
from trainables.storage.folders import usual_mode
from trainables.storage.place import storage_errors
from trainables.task.task import load_task

WEIGHTS, OPTIMIZER, AVERAGE = "model.safetensors", "optimizer.safetensors", "ema.safetensors"

_ATTEMPT = ".attempt-"
_attempts: dict[Path, Path] = {}
"""Folder of drafts of this process, by the folder whose checkpoints it alone may write."""


def begin_attempt(checkpoints: Path) -> None:
    """Let this process alone write the checkpoints in a folder; one that began earlier fails at its next.

    A host that is cut off from its cluster ends the epoch that it is in, and may reach the shared folder all the time,
    while another host has taken up the trial. Its drafts lie in a folder of its own, which the other one deletes.
    Raises StorageFailed where the folder cannot be made.
    """
    drafts = checkpoints / f"{_ATTEMPT}{uuid.uuid4().hex[:12]}"
    with storage_errors(checkpoints):
        checkpoints.mkdir(parents=True, exist_ok=True)
        for earlier in checkpoints.glob(f"{_ATTEMPT}*"):
            shutil.rmtree(earlier, ignore_errors=True)
        drafts.mkdir()
    _attempts[checkpoints] = drafts


def end_attempt(checkpoints: Path) -> None:
    """End the attempt of this process, where it has begun one."""
    drafts = _attempts.pop(checkpoints, None)
    if drafts is not None:
        shutil.rmtree(drafts, ignore_errors=True)


def save_checkpoint(
    folder: Path,
    tensors: Mapping[str, Tensor],
    state: CheckpointState,
    optimizer: Mapping[str, Tensor] | None = None,
    average: Mapping[str, Tensor] | None = None,
    *,
    weights_in: Path | None = None,
) -> None:
    """Write the checkpoint beside `folder`, then move it into place; if that is interrupted, the old one is read.

    `tensors` are those of the model by name: all, or those that training has changed, where `state` has the
    `frozen_digest` of the rest. `optimizer` is what `optimizer_tensors` returns, `average` the tensors of the moving
    average. `weights_in` is a checkpoint that has just been written with the same `tensors`: they are shared, not
    written again.
    """
    fresh = _draft(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    if weights_in is None:
        _save(tensors, fresh / WEIGHTS)
    else:
        _share(weights_in / WEIGHTS, fresh / WEIGHTS)
    if optimizer is not None:
        _save(optimizer, fresh / OPTIMIZER)
    if average is not None:
        _save(average, fresh / AVERAGE)
    (fresh / STATE).write_text(state.model_dump_json(exclude_none=True))
    _flush(fresh / STATE)
    old = old_folder(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _draft(folder: Path) -> Path:
    """Return where the checkpoint `folder` is drafted. Raises StorageFailed where a later attempt writes it."""
    drafts = _attempts.get(folder.parent)
    if drafts is None:
        return folder.with_name(f".{folder.name}.new")
    if not drafts.exists():
        raise StorageFailed(
            f"{folder}: one process at a time may write the checkpoints of a trial, but another has taken it up since, "
            "as after a host was cut off; this one ends"
        )
    return drafts / folder.name


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    average: nn.Module | None = None,
) -> None:
    """Load the tensors of a checkpoint into a model, an optimizer and a moving average of the same shape.

    Where the checkpoint leaves out the frozen part, `model` and `average` have it from the weights of its trial. Raises
    InvalidInput when a file of it is missing or unreadable, and when the frozen part is another than the trial had.
    """
    folder = complete_folder(folder)
    state, tensors = CheckpointState.read(folder), _load(folder / WEIGHTS)
    frozen = frozenset[str]()
    if state.frozen_digest is not None:
        own = model.state_dict()
        check_frozen_part(own, tensors.keys(), state, folder, tensor_digests(state.config))
        frozen = frozenset(own.keys() - tensors.keys())
    _overlay(model, tensors, frozen, folder / WEIGHTS)
    if optimizer is not None:
        _restore_optimizer(optimizer, _load(folder / OPTIMIZER))
    if average is not None:
        _overlay(average, _load(folder / AVERAGE), {f"module.{name}" for name in frozen}, folder / AVERAGE)


def load_part(
    folder: Path, part: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None, prefix: str = ""
) -> None:
    """Load into a part of the model that has the names of the whole, and into what moves it, what they have.

    With a `prefix` the names of their tensors begin with it: the checkpoint holds several such parts.
    Raises InvalidInput when a file of the checkpoint is missing, unreadable or incomplete.
    """
    folder = complete_folder(folder)
    _overlay(part, _below(prefix, _load(folder / WEIGHTS)), set(), folder / WEIGHTS)
    _restore_optimizer(optimizer, _below(prefix, _load(folder / OPTIMIZER)))
    if average is not None:
        _overlay(average, _below(prefix, _load(folder / AVERAGE)), set(), folder / AVERAGE)


def load_trained(folder: Path) -> tuple[nn.Module, CheckpointState]:
    """Load the trained model of a checkpoint, on the CPU in eval mode, with its state.

    Raises InvalidInput where it cannot be read, where it needs weights that are gone or have changed, and where it
    holds the heads of folds.
    """
    state = CheckpointState.read(folder)
    check_one_model(folder, state)
    model = _starting_model(folder, state)
    load_checkpoint(folder, model)
    return model.eval(), state


def make_whole(folder: Path) -> None:
    """Rewrite a checkpoint so that it holds the whole model, and needs no other file; a whole one stays as it is.

    Only its model and its state are kept. Raises InvalidInput as `load_trained` does.
    """
    if CheckpointState.read(folder).frozen_digest is None:
        return
    model, state = load_trained(folder)
    save_checkpoint(folder, model.state_dict(), state.model_copy(update={"frozen_digest": None}))


def tensor_digests(config: TrialConfig) -> dict[str, str]:
    """Return the digests that this process knows of the tensors that the weights of `config` bring, to be added to.

    Trials that start from the same weights share them, see `frozen_digest`. Raises InvalidInput where a file of the
    weights is missing.
    """
    origin = (config.task, config.architecture, config.weights, config.weights_layout, config.seed)
    return _shared_digests(origin, weights_digests(config))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer; each tensor is named by the JSON list of its key and its parameter's name."""
    return {
        json.dumps([key, name]): value
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        for key, value in optimizer.state[parameter].items()
        if value is not None
    }


def exists(folder: Path) -> bool:
    """Return whether a complete checkpoint is there, be it only the one an interrupted write was about to replace.

    Raises InvalidInput where this user may not look, or may not read it.
    """
    path = complete_folder(folder) / STATE
    check_readable(path)
    return path.is_file()


def _starting_model(folder: Path, state: CheckpointState) -> nn.Module:
    task = load_task(state.config.task)
    if state.frozen_digest is None:
        return task.build(state.config, state.classes, bare=True)
    try:
        return task.build(state.config.model_copy(update={"dropout": 0.0, "drop_path": 0.0}), state.classes)
    except InvalidInput as error:
        raise InvalidInput(
            f"checkpoint {folder} holds only what was trained, and needs the weights that its trial started from: "
            f"{error}"
        ) from error


def _overlay(module: nn.Module, tensors: Mapping[str, Tensor], frozen: AbstractSet[str], path: Path) -> None:
    """Load all tensors of a module but the `frozen` ones, which were read from `path`."""
    own = module.state_dict()
    lacking = [name for name, tensor in own.items() if name not in frozen and not _fits(tensor, tensors.get(name))]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise InvalidInput(
            f"checkpoint must hold the tensors of its model, got {path} without {lacking[0]}{more}, or in another "
            "shape; it is damaged: restore it, or train the trial again"
        )
    module.load_state_dict({name: own[name] if name in frozen else tensors[name] for name in own})


def _fits(own: Tensor, found: Tensor | None) -> bool:
    return found is not None and found.shape == own.shape


@lru_cache(maxsize=32)
def _shared_digests(_origin: tuple[str | int, ...], _files: tuple[str, ...]) -> dict[str, str]:
    return {}


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
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
        remedy = "only `last` holds the optimizer's state: go on from there" if path.name == OPTIMIZER else "restore it"
        raise InvalidInput(
            f"checkpoint must hold {path.name}, got none that is readable in {path.parent} ({type(error).__name__}); "
            f"{remedy}, or train the trial again"
        ) from error


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


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

"""A timm classifier with the weights a configuration asks for."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import timm
import torch
from huggingface_hub import constants, get_session
from timm.models import get_arch_pretrained_cfgs
from torch import Tensor, nn

from search_spaces.errors import InvalidInput, closest, shown
from trainables.config import TrialConfig
from trainables.model.weights import (
    check_frozen_part,
    load_weights,
    partial_checkpoint,
    read_weights,
    weights_file,
    weights_path,
)
from trainables.storage.place import Place


def check_architecture(architecture: str) -> None:
    """Raise InvalidInput unless timm has the model, and the weights of a tag behind its name; the closest are named."""
    if not timm.is_model(architecture):
        raise InvalidInput(
            f"architecture must be a timm model name, got {architecture!r}; {closest(architecture, timm.list_models())}"
        )
    name, dot, tag = architecture.partition(".")
    known = [found.partition(".")[2] for found in get_arch_pretrained_cfgs(architecture)]
    if dot and tag not in known:
        tags = [found for found in known if found]
        advice = f"there are {', '.join(f'{name}.{found}' for found in tags)}" if tags else f"{name} has no tags"
        raise InvalidInput(
            f"architecture must be a model of timm {timm.__version__}, got {shown(architecture)}: there is no tag "
            f"{shown(tag)}; {advice}, or set it to {name} alone"
        )


def check_image_size(architecture: str, image_size: int) -> None:
    """Raise InvalidInput when the architecture has one size built in (position embeddings) and this is another."""
    check_architecture(architecture)
    wanted = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    if wanted is not None and wanted.fixed_input_size and wanted.input_size[-1] != image_size:
        raise InvalidInput(
            f"data.image_size must be {wanted.input_size[-1]} for {architecture}, which takes no other, "
            f"got {image_size}; set it so, or choose another architecture"
        )


def build_model(config: TrialConfig, num_classes: int) -> nn.Module:
    """Build the model on the CPU, with the weights of `config` and a fresh head of `num_classes` where they have none.

    The random part is a function of the trial's seed alone. Raises InvalidInput for an unknown architecture, for an
    image size that it cannot take, and for weights that are missing or of another architecture.
    """
    check_image_size(config.architecture, config.data.image_size)
    path = weights_path(config)
    from_hub = config.weights == "pretrained" and path is None
    model = bare_model(
        config.architecture,
        num_classes,
        dropout=config.dropout,
        drop_path=config.drop_path,
        seed=config.seed,
        from_hub=from_hub,
    )
    if path is not None:
        load_weights(model, config.architecture, path, config.weights_layout, _left_out(weights_file(path)))
    return model


def bare_model(
    architecture: str,
    num_classes: int,
    *,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    seed: int = 0,
    from_hub: bool = False,
) -> nn.Module:
    """Create the timm model: random weights drawn from `seed`, or those of timm's hub with a random head."""
    check_architecture(architecture)
    with torch.random.fork_rng(devices=[]), _reachable_hub() if from_hub else contextlib.nullcontext():
        torch.manual_seed(seed)
        try:
            model: Any = timm.create_model(
                architecture,
                pretrained=from_hub,
                num_classes=num_classes,
                drop_rate=dropout,
                # timm leaves out what is None: not every family has residual blocks to skip.
                drop_path_rate=drop_path or None,
            )
        except TypeError as error:
            raise InvalidInput(
                f"architecture must be an image classifier with dropout{' and drop_path' if drop_path else ''}, got "
                f"{architecture} ({error}); choose another architecture{' or set drop_path: 0' if drop_path else ''}"
            ) from error
        except (OSError, RuntimeError) as error:
            if not from_hub:
                raise
            silent = constants.HF_HUB_OFFLINE
            reason = "no answer of timm's hub, and no copy of them on this machine" if silent else _first_line(error)
            raise InvalidInput(
                f"weights: pretrained must be downloadable for {architecture}, got {reason}; "
                f"connect to the internet, set data.weights_dir to a folder with {architecture}.safetensors, "
                "or set weights: none"
            ) from error
        if hasattr(model, "reset_classifier") and not (from_hub and model.pretrained_cfg["num_classes"] == num_classes):
            # timm draws the head of some families for training from scratch, so wide that on pretrained features the
            # first logits are tenfold and a frozen backbone needs epochs to recover; a reset head is torch's default.
            model.reset_classifier(num_classes)
    built: nn.Module = model
    return built


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def _left_out(file: Place) -> dict[str, Tensor]:
    """Return the frozen tensors that a checkpoint of Thaw leaves out, from the weights of its trial; none for others.

    Raises InvalidInput where these weights are gone or have changed.
    """
    checkpoint = partial_checkpoint(file)
    if checkpoint is None:
        return {}
    try:
        start = build_model(checkpoint.config, len(checkpoint.classes)).state_dict()
    except InvalidInput as error:
        raise InvalidInput(
            f"weights: {file} holds only what was trained, and needs the weights that its trial started from: {error}"
        ) from error
    changed = read_weights(file).keys()
    check_frozen_part(start, changed, checkpoint, file.parent, {})
    return {name: start[name] for name in start.keys() - changed}


def is_hub_reachable() -> bool:
    """Return whether timm's hub answers, and HF_HUB_OFFLINE does not forbid to ask."""
    return not constants.HF_HUB_OFFLINE and any(_hub_answers(wait) for wait in (0, 1))


@contextlib.contextmanager
def _reachable_hub() -> Iterator[None]:
    """Where the hub does not answer, read what is cached of it and nothing else: its client would try for a minute."""
    configured = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = not is_hub_reachable()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = configured


def _hub_answers(wait: float) -> bool:
    time.sleep(wait)
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # The exceptions of the hub's client are those of whichever library it is built on.
        return False
    return True

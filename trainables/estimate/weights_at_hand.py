"""Weights at hand: architectures whose pretrained weights lie on this machine, so that nothing is downloaded."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import timm
from huggingface_hub import constants, try_to_load_from_cache

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.model.build import check_architecture, check_image_size
from trainables.model.weights import weights_path
from trainables.storage.place import Place

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class WeightsAtHand:
    """Architectures whose pretrained weights lie on this machine."""

    architectures: tuple[str, ...]
    """Names of timm models, in the order in which they were asked for or are listed."""

    weights_dir: Place | None
    """Folder of their files, as in `data.weights_dir`; None for timm's hub cache."""

    other_size: tuple[str, ...] = ()
    """Those with weights that take another image size only, and so are left out."""


def find_weights(
    image_size: int, weights_dir: Place | None = None, architectures: Iterable[str] | None = None
) -> WeightsAtHand:
    """Find the weights of `architectures`, None: of all that `weights_dir` holds.

    Without a folder, timm's hub cache is looked into, for the named architectures. Raises InvalidInput for a folder
    that is none, and for one without weights of a timm model.
    """
    if weights_dir is not None:
        there = _in_folder(weights_dir)
        wanted = there if architectures is None else [name for name in architectures if name in there]
    else:
        wanted = [name for name in architectures or () if _is_cached(name)]
    fitting = [name for name in dict.fromkeys(wanted) if _takes(name, image_size)]
    return WeightsAtHand(tuple(fitting), weights_dir, tuple(name for name in wanted if name not in fitting))


def are_at_hand(config: TrialConfig) -> bool:
    """Return whether the weights of a trial lie on this machine; random ones do."""
    if config.weights == "none":
        return True
    path = weights_path(config)
    return _is_cached(config.architecture) if path is None else path.exists()


@contextmanager
def without_hub() -> Iterator[None]:
    """Read of timm's hub what is cached on this machine, and nothing else."""
    configured = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = configured


def _in_folder(folder: Place) -> list[str]:
    if not folder.is_dir():
        raise InvalidInput(f"--weights: must be a folder of <architecture>.safetensors, got {folder}; check the path")
    names = sorted(file.stem for file in folder.glob("*.safetensors"))
    known = [name for name in names if timm.is_model(name)]
    if not known:
        got = f"{', '.join(names[:5])}, which are no timm models" if names else "no such file"
        raise InvalidInput(
            f"--weights: {folder} must hold <architecture>.safetensors of a timm model, got {got}; "
            "name each file after its architecture, e.g. resnet18.safetensors"
        )
    return known


def _is_cached(architecture: str) -> bool:
    check_architecture(architecture)
    known = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    repository = None if known is None else known.hf_hub_id
    return repository is not None and any(
        isinstance(try_to_load_from_cache(repository, file), str) for file in _HUB_FILES
    )


def _takes(architecture: str, image_size: int) -> bool:
    try:
        check_image_size(architecture, image_size)
    except InvalidInput:
        return False
    return True

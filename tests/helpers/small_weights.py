"""Weights of a model of timm's own tests, as a folder of pretrained weights has them."""

from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

ARCHITECTURE = "test_resnet"


def write_weights(folder: Path) -> Path:
    """Write `test_resnet.safetensors`, the same at every call; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(ARCHITECTURE, num_classes=10)
    save_file(model.state_dict(), folder / f"{ARCHITECTURE}.safetensors")
    return folder

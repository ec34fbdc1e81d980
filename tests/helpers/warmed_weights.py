"""Weights whose BatchNorm has seen images: what `norm_stats: frozen` keeps."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from trainables.data.arrays import load_arrays
from trainables.data_config import DataConfig
from trainables.model.build import bare_model
from trainables.task.inference import to_input


def write_warmed(path: Path, architecture: str, root: Path, cache: Path, size: int = 32) -> Path:
    """Write random weights of a timm model, with the statistics of the images in `root`, to a safetensors file."""
    data = DataConfig(root=root, image_size=size, resize_mode="squash")
    split = load_arrays(data, cache).splits["train"]
    images = to_input(torch.from_numpy(np.array(split.images)), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    model = bare_model(architecture, 10).train()
    with torch.no_grad():
        for _ in range(50):
            model(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return path

"""Models of libraries that Thaw does not install, where they are installed, and the listings of their keys.

`python tests/helpers/library_models.py` writes the listings, with transformers and efficientnet_pytorch on the path.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

LISTINGS = Path(__file__).parents[1] / "trainables" / "model" / "library_keys"
CLASSES = 5


def _resnet(**settings: Any) -> nn.Module:
    library = pytest.importorskip("transformers")
    model: nn.Module = library.ResNetForImageClassification(library.ResNetConfig(num_labels=CLASSES, **settings))
    return model


def _efficientnet(width: float, depth: float, hidden: int, depthwise_padding: list[int]) -> nn.Module:
    library = pytest.importorskip("transformers")
    scaled = {"width_coefficient": width, "depth_coefficient": depth, "hidden_dim": hidden}
    config = library.EfficientNetConfig(num_labels=CLASSES, depthwise_padding=depthwise_padding, **scaled)
    model: nn.Module = library.EfficientNetForImageClassification(config)
    return model


def _efficientnet_pytorch(name: str) -> nn.Module:
    model: nn.Module = pytest.importorskip("efficientnet_pytorch").EfficientNet.from_name(name, num_classes=CLASSES)
    return model


BASIC = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]}
LIBRARY_MODELS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "transformers-resnet18": ("resnet18", lambda: _resnet(**BASIC, depths=[2, 2, 2, 2])),
    "transformers-resnet26": ("resnet26", lambda: _resnet(depths=[2, 2, 2, 2])),
    "transformers-efficientnet-b0": ("tf_efficientnet_b0", lambda: _efficientnet(1.0, 1.0, 1280, [])),
    "efficientnet_pytorch-b0": ("tf_efficientnet_b0", lambda: _efficientnet_pytorch("efficientnet-b0")),
}
"""Architecture of timm that is the same, and how to build the model of the library, by the name of its listing."""


def listing(model: nn.Module) -> str:
    """Return a line per tensor of a model: its key and its shape."""
    return "".join(" ".join([name, *map(str, tensor.shape)]) + "\n" for name, tensor in model.state_dict().items())


def listed(name: str) -> dict[str, torch.Tensor]:
    """Return tensors of the keys and shapes of a listing, each filled with its own number, from 1."""
    rows = [line.split(" ") for line in (LISTINGS / f"{name}.txt").read_text().splitlines()]
    return {
        key: torch.full([*map(int, shape)], number, dtype=torch.int64 if key.endswith("tracked") else torch.float32)
        for number, (key, *shape) in enumerate(rows, start=1)
    }


if __name__ == "__main__":
    for name, (_, build) in LIBRARY_MODELS.items():
        (LISTINGS / f"{name}.txt").write_text(listing(build()))

"""Real timm models with random weights, exported once a session, and photos to measure them on."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn
from trashnet import trashnet_photos

from trainables.bundle.export import ExportBundle, export_bundle
from trainables.bundle.web_runtime import web_runtime
from trainables.data.preprocess import Preprocessing

SIZE = 64
LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
CONFIG: dict[str, Any] = {"architecture": "any", "lr": 1e-3, "data": {"root": "data/ü"}}
PREPROCESSING = Preprocessing(image_size=SIZE, resize_mode="squash", mean=(0.485, 0.456, 0.406), std=(0.2, 0.3, 0.25))

Photos = list[tuple[str, bytes]]


def jpeg(seed: int, width: int = 90, height: int = 70) -> bytes:
    """A smooth random photo: eight by six random colours, enlarged."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def build(architecture: str, photos: Photos) -> nn.Module:
    """Random weights with BatchNorm statistics of the photos: without them, every photo gets nearly the same logits.

    Not of the photos alone (momentum 1): channels that vary little over eleven photos then blow others up, and
    EfficientNet in float32 is 1 % off itself in float64, whichever library runs it.
    """
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=len(LABELS))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.95
    with torch.no_grad():
        model(torch.from_numpy(np.stack([PREPROCESSING(data, name) for name, data in photos])))
    return model


@pytest.fixture(scope="session")
def photos() -> Photos:
    return [(f"photo{i}.jpg", jpeg(i)) for i in range(11)]


@pytest.fixture(scope="session")
def real_photos() -> Photos:
    """Forty photos of the validation split of trashnet6, from all classes."""
    return trashnet_photos(40)


@pytest.fixture(scope="session")
def exported(
    photos: Photos, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[nn.Module, ExportBundle]]:
    """The model of an architecture and its bundle; an export takes seconds, so each is made once."""
    made: dict[str, tuple[nn.Module, ExportBundle]] = {}

    def get(architecture: str) -> tuple[nn.Module, ExportBundle]:
        if architecture not in made:
            model = build(architecture, photos)
            folder = tmp_path_factory.mktemp(architecture)
            bundle = export_bundle(model, LABELS, PREPROCESSING, CONFIG, "sha256:abc", photos, folder)
            made[architecture] = (model, bundle)
        return made[architecture]

    return get


@pytest.fixture(scope="session")
def small(exported: Callable[[str], tuple[nn.Module, ExportBundle]]) -> tuple[nn.Module, ExportBundle]:
    return exported("mobilenetv3_small_050")


@pytest.fixture(scope="session")
def web_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the files of onnxruntime-web, as npm gives them."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm; on Debian: apt-get install npm")
    cache = tmp_path_factory.mktemp("web")
    web_runtime(cache)
    return cache

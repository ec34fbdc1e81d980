"""Features of photos, and the weights they come from."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from search_spaces.errors import InvalidInput
from trainables.data.node_cache import NodeCache
from trainables.data_config import DataConfig
from trainables.estimate.photo_features import photo_features, probe_architecture
from trainables.model.build import bare_model


def weights(folder: Path, *architectures: str) -> Path:
    for architecture in architectures:
        save_file(bare_model(architecture, 1000).state_dict(), folder / f"{architecture}.safetensors")
    return folder


def test_features_are_rows_computed_once(tmp_path: Path) -> None:
    data = DataConfig(root=tmp_path, image_size=32, weights_dir=weights(tmp_path, "test_efficientnet"))
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    decoded: list[int] = []

    def decode(index: int) -> np.ndarray:
        decoded.append(index)
        return pixels[index]

    first = photo_features(data, 5, decode, "five", NodeCache(tmp_path / "cache"))
    assert first.shape[0] == 5
    assert np.isfinite(first).all()
    decoded.clear()
    assert (photo_features(data, 5, decode, "five", NodeCache(tmp_path / "cache")) == first).all()
    assert decoded == []


def test_the_smallest_weights_are_taken_unless_a_preferred_model_is_there(tmp_path: Path) -> None:
    (tmp_path / "a_model_of_mine.safetensors").write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"of a timm model, got a_model_of_mine.safetensors"):
        probe_architecture(tmp_path)
    weights(tmp_path, "resnet10t", "test_efficientnet")
    assert probe_architecture(tmp_path) == "test_efficientnet"
    (tmp_path / "mobilenetv2_100.safetensors").write_bytes(bytes(10**6))
    assert probe_architecture(tmp_path) == "mobilenetv2_100"

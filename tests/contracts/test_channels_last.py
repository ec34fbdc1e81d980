"""The layout of a model's memory changes how fast it is on a CPU, and nothing of what it computes beyond rounding."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from warmed_weights import write_warmed

from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.data.digits import write_digits
from trainables.data.node_cache import NodeCache
from trainables.loop.head_learner import open_learner
from trainables.model.build import bare_model

LAYOUTS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize(
    "architecture",
    ["test_efficientnet", "test_resnet", "test_convnext", "tf_mobilenetv3_small_minimal_100", "mobilenetv2_050"],
)
def test_outputs_and_gradients_are_equal_to_rounding(architecture: str) -> None:
    chance = torch.Generator().manual_seed(1)
    images = torch.randn(8, 3, 64, 64, generator=chance)
    found = []
    for layout in LAYOUTS:
        model = bare_model(architecture, 5).to(memory_format=layout).eval()
        outputs = model(images.contiguous(memory_format=layout))
        cross_entropy(outputs, torch.arange(8) % 5).backward()
        found.append((outputs.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])))
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() <= 1e-5 * one.abs().max()


@pytest.mark.parametrize("given", [{"strategy": "head"}, {"strategy": "full", "norm_stats": "frozen", "lr": 1e-3}])
def test_an_epoch_has_the_same_losses_and_labels(given: dict[str, Any], tmp_path: Path, cache_dir: Path) -> None:
    write_digits(tmp_path / "digits", keep={**dict.fromkeys(range(10), 0.0), 0: 0.2, 1: 0.2, 2: 0.2})
    weights = write_warmed(tmp_path / "w.safetensors", "test_efficientnet", tmp_path / "digits", cache_dir)
    results = []
    for layout in (False, True):
        data = {"root": tmp_path / "digits", "image_size": 32, "resize_mode": "squash"}
        trial = {"data": data, "architecture": "test_efficientnet", "weights": str(weights), "epochs": 1, "lr": 1e-2}
        config = TrialConfig.model_validate({**trial, **given, "channels_last": layout})
        learner = open_learner(config, load_arrays(config.data, cache_dir), NodeCache(cache_dir))
        learner.start_head()
        learner.thaw(0)
        results.append((learner.train_epoch(0, 0)["train/loss"], learner.validate()))
    (loss, outputs), (other_loss, other_outputs) = results
    assert other_loss == pytest.approx(loss, rel=1e-5)
    np.testing.assert_array_equal(outputs.argmax(1), other_outputs.argmax(1))

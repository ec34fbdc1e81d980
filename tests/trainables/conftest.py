"""Trials of a second: three handwritten digits, models of timm's own tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables.config import TrialConfig
from trainables.data.digits import write_digits
from trainables.storage.folders import TrialFolders


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """These models are too small to share out, and other tests want the other cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def few_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits 0 (a third as many), 1 and 2 as train/ val/ test/, 81 + 18 + 18 images."""
    root = tmp_path_factory.mktemp("data") / "few"
    write_digits(root, keep={**dict.fromkeys(range(10), 0.0), 0: 0.1, 1: 0.3, 2: 0.3})
    return root


@pytest.fixture(scope="session")
def trial_config(few_digits: Path) -> Callable[..., TrialConfig]:
    """A quick trial on `few_digits`; any setting can be replaced."""

    def make(**settings: Any) -> TrialConfig:
        data = {"root": few_digits, "image_size": 32, "resize_mode": "squash", **settings.pop("data", {})}
        quick = {"architecture": "test_efficientnet", "weights": "none", "strategy": "full", "epochs": 2, "lr": 3e-3}
        return TrialConfig.model_validate({**quick, "batch_size": 16, "seed": 7, **settings, "data": data})

    return make


@pytest.fixture
def trial_folders(tmp_path: Path, cache_dir: Path) -> Callable[[str], TrialFolders]:
    """The folders of a trial of that name."""

    def make(name: str) -> TrialFolders:
        return TrialFolders(tmp_path / name / "checkpoints", tmp_path / name / "predictions.parquet", cache_dir)

    return make

"""Sweeps in this process, on its one Ray, and the sweep that several tests look at."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from field_cases import field_case as field_case

from orchestrator.driver.sweep import SweepOutcome, run_sweep
from orchestrator.spec.loading import load
from orchestrator.tracking.observer import TrialCallback
from trainables.result import TrialResult

ARCHITECTURES = ["test_efficientnet", "test_resnet", "mobilenetv3_small_050"]
BAD_IMAGES = ("test/3/bad.png", "train/0/a.png", "train/7/bad.png")


@pytest.fixture
def sweep(ray_here: None, write_sweep: Callable[..., Path], tmp_path: Path) -> Callable[..., SweepOutcome]:
    """Runs a sweep of the given sections to its end."""

    def run(progress: Callable[[TrialResult], None] = lambda _trial: None, **sections: object) -> SweepOutcome:
        return run_sweep(load(write_sweep(tmp_path, **sections)), observers=[TrialCallback(progress)])

    return run


@pytest.fixture(scope="session")
def searched(
    ray_here: None, digits: Path, write_sweep: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[SweepOutcome, list[TrialResult]]:
    """A search as people run it, TPE and ASHA, and every change of a trial that was announced on the way.

    Its data set has three images that cannot be decoded, which are left out.
    """
    changes: list[TrialResult] = []
    folder = tmp_path_factory.mktemp("searched")
    shutil.copytree(digits, folder / "digits", copy_function=os.link)
    for name in BAD_IMAGES:
        (folder / "digits" / name).write_bytes(b"not an image")
    sections = {
        "data": {"root": "digits", "image_size": 32, "resize_mode": "squash", "on_bad_image": "skip"},
        "trial": {"epochs": 3},
        "space": {
            "architecture": {"choice": ARCHITECTURES},
            "strategy": {"choice": ["head", "progressive", "full"]},
            "unfreeze_epoch": {"int": [1, 2], "when": {"strategy": "progressive"}},
            "lr": [
                {"log": [1e-3, 1e-2], "when": {"strategy": "head"}},
                {"log": [1e-3, 5e-3], "when": {"strategy": ["progressive", "full"]}},
            ],
        },
        "search": {"trials": 6, "sampler": "tpe", "seed": 3},
        "stopping": {"asha": {"grace": 1, "reduction": 2}},
        "tracking": {"wandb": {"mode": "offline"}, "tensorboard": {}},
    }
    spec = load(write_sweep(folder, **sections))
    return run_sweep(spec, observers=[TrialCallback(changes.append)]), changes

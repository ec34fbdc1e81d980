"""Two workers compute what one computes: same global batch, same weights, whatever the balance and the micro-batch."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from trainables.config import TrialConfig

# Runs as one rank: train a configuration to its end, and check what must hold of the accelerator after each epoch.
RANK = """
import json, sys
from pathlib import Path
import trainables  # OpenMP's environment, before torch
import torch
import torch.distributed as dist
from trainables import learner as module
from trainables.config import TrialConfig
from trainables.folders import TrialFolders
from trainables.train import train

torch.set_num_threads(1)
ranks, config, root = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
if ranks > 1:
    dist.init_process_group("gloo")
learners = []
original = module.Learner.__init__
def remember(self, *args):
    learners.append(self)
    original(self, *args)
module.Learner.__init__ = remember
config = TrialConfig.model_validate_json(config)
reports, prepared, wraps = [], [], []
for report in train(config, TrialFolders(root / "checkpoints", root / "predictions.parquet", root.parent / "cache")):
    reports.append(report.model_dump(exclude={"seconds"}))
    learner = learners[0]
    # Private, because Accelerate has no public count of what it prepared.
    prepared.append([len(learner.accelerator._models), len(learner.accelerator._optimizers)])
    depth, forward = 0, learner.model.forward
    while hasattr(forward, "__wrapped__"):
        depth, forward = depth + 1, forward.__wrapped__
    wraps.append(depth)
print(json.dumps({"reports": reports, "prepared": prepared, "wraps": wraps}))
if ranks > 1:
    dist.destroy_process_group()
"""

Said = dict[str, Any]


@pytest.fixture
def trial_config(digits: Path) -> Callable[..., TrialConfig]:
    def make(**settings: Any) -> TrialConfig:
        data = {"root": digits, "image_size": 32, "resize_mode": "squash"}
        return TrialConfig.model_validate({"data": data, "weights": "none", "seed": 7, **settings})

    return make


def run(ranks: int, config: TrialConfig, root: Path) -> list[Said]:
    """What every rank said; their files are in `root`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    text = json.dumps(config.to_json())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(ranks), text, str(root)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(_launched(ranks, rank, port) if ranks > 1 else {})},
        )
        for rank in range(ranks)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * ranks
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def _launched(ranks: int, rank: int, port: str) -> dict[str, str]:
    """The environment that torchrun gives a rank, from which torch and Accelerate take their bearings."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in numbers.items()}}


# No BatchNorm: with it, each rank normalises by its own share of the batch. 367 training images: an odd number.
BASE = {
    "architecture": "test_convnext",
    "strategy": "gradual",
    "last_stage_epoch": 1,
    "full_after": 1,
    "epochs": 3,
    "lr": 0.001,
    "optimizer": "sgd",
    "scheduler": "constant",
    "batch_size": 32,
}


@pytest.mark.parametrize(
    "settings",
    [
        {"balance": "none"},
        {"balance": "sampler", "micro_batch_size": 5},
        {"balance": "loss", "micro_batch_size": 7, "clip_norm": 1.0, "ema_decay": 0.9},
        {"balance": "loss", "mixing": "cutmix", "augmentation": "light", "random_erasing": 0.3},
        {"balance": "none", "mixing": "mixup", "focal_gamma": 2.0, "label_smoothing": 0.1, "stage_lr_decay": 0.7},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_two_ranks_train_the_weights_of_one(
    settings: dict[str, Any], trial_config: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    config = trial_config(**BASE, **settings)
    (one,) = run(1, config, tmp_path / "one")
    first, second = run(2, config, tmp_path / "two")
    assert first["reports"] == second["reports"]
    assert all(count == [1, 1] for said in (one, first, second) for count in said["prepared"])
    for ours, theirs in zip(one["reports"], first["reports"], strict=True):
        assert ours["metrics"] == pytest.approx(theirs["metrics"], rel=1e-4)
        assert ours["metrics"]["val/accuracy"] == theirs["metrics"]["val/accuracy"]
    weights, shared = (
        load_file(tmp_path / name / "checkpoints" / "last" / "model.safetensors") for name in ("one", "two")
    )
    for name, tensor in weights.items():
        torch.testing.assert_close(shared[name], tensor, rtol=0, atol=1e-5)


def test_mixed_precision_is_wrapped_once_after_every_boundary(
    trial_config: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    for said in run(2, trial_config(**BASE, precision="bf16"), tmp_path / "two"):
        assert said["prepared"] == [[1, 1]] * 3
        assert len(set(said["wraps"])) == 1
        assert said["wraps"][0] >= 1


def test_without_accumulation_and_with_it_one_process_trains_the_same(
    trial_config: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    whole, parts = (
        run(1, trial_config(**BASE, balance="loss", **more), tmp_path / name)
        for name, more in (("whole", {}), ("parts", {"micro_batch_size": 4}))
    )
    assert whole[0]["reports"][-1]["metrics"] == pytest.approx(parts[0]["reports"][-1]["metrics"], rel=1e-4)

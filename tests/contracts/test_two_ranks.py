"""Two workers compute what one computes: same global batch, same weights, whatever the balance and the micro-batch."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from warmed_weights import write_warmed

from trainables.data.digits import write_digits

pytestmark = pytest.mark.seconds(25)

# Runs as one rank: trains each configuration to its end, and says what holds of the accelerator after each epoch.
RANK = """
import json, sys
from pathlib import Path
import trainables  # OpenMP's environment, before torch
import torch
import torch.distributed as dist
from trainables.loop import learner as module
from trainables.config import TrialConfig
from trainables.storage.folders import TrialFolders
from trainables.loop.train import train

torch.set_num_threads(1)
ranks, configs, root = int(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
if ranks > 1:
    dist.init_process_group("gloo")
learners = []
original = module.Learner.__init__
def remember(self, *args):
    learners.append(self)
    original(self, *args)
module.Learner.__init__ = remember
for name, config in configs.items():
    said = {"reports": [], "prepared": [], "layers": [], "cached": []}
    folders = TrialFolders(root / name / "checkpoints", root / name / "predictions.parquet", root.parent / "cache")
    for report in train(TrialConfig.model_validate(config), folders):
        said["reports"].append(report.model_dump(exclude={"seconds"}))
        learner = learners[-1]
        # Private, because Accelerate has no public count of what it prepared.
        said["prepared"].append([len(learner.accelerator._models), len(learner.accelerator._optimizers)])
        forward = getattr(learner.phase.part, "_original_forward", learner.phase.part.forward)
        wrapped = hasattr(learner.phase.part, "_original_forward")
        said["layers"].append([wrapped, forward.__func__ is type(learner.phase.part).forward])
        said["cached"].append(learner.phase.features is not None)
    learners.clear()
    print(json.dumps([name, said]))
if ranks > 1:
    dist.destroy_process_group()
"""

# No BatchNorm: with it, each rank normalises by its own share of the batch. A rate at which nothing runs away, so that
# the order of sums stays what it is, a matter of the last digits.
BASE = {
    "architecture": "test_convnext",
    "weights": "none",
    "strategy": "gradual",
    "last_stage_epoch": 1,
    "full_after": 1,
    "epochs": 3,
    "lr": 0.001,
    "optimizer": "sgd",
    "scheduler": "constant",
    "batch_size": 32,
    "seed": 7,
}

# BatchNorm whose statistics stay those of the weights: a share of a batch sees what the whole sees.
FROZEN_NORMS = {"architecture": "test_efficientnet", "norm_stats": "frozen"}

SETTINGS: Mapping[str, dict[str, Any]] = {
    "none": {"balance": "none"},
    "none in parts": {"balance": "none", "micro_batch_size": 4},
    "sampler": {"balance": "sampler"},
    "sampler in parts": {"balance": "sampler", "micro_batch_size": 5},
    "loss": {"balance": "loss", "clip_norm": 1.0},
    "loss in parts": {"balance": "loss", "micro_batch_size": 7, "ema_decay": 0.9},
    "cutmix": {"balance": "loss", "mixing": "cutmix", "augmentation": "light", "random_erasing": 0.3, "clip_norm": 1.0},
    "mixup": {"balance": "none", "mixing": "mixup", "focal_gamma": 2.0, "label_smoothing": 0.1, "stage_lr_decay": 0.7},
    "bf16": {"precision": "bf16"},
    "images": {"balance": "none", "feature_views": 0},
    "fixed views": {"feature_views": 2, "augmentation": "light", "ema_decay": 0.9, "micro_batch_size": 4},
    "norms": {**FROZEN_NORMS},
    "norms in parts": {**FROZEN_NORMS, "micro_batch_size": 5},
    "norms from the probe": {**FROZEN_NORMS, "head_init": "probe", "decay_to": "start", "balance": "loss"},
}

Said = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An eighth of the digits: an odd number to learn from, and an odd number to validate on."""
    root = tmp_path_factory.mktemp("few")
    write_digits(root, keep=dict.fromkeys(range(10), 0.13))
    return root


@pytest.fixture(scope="module")
def ran(few: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Said]]:
    """The folder of the checkpoints, and what one process and then two ranks said of all settings."""
    root = tmp_path_factory.mktemp("ranks")
    data = {"root": str(few), "image_size": 32, "resize_mode": "squash"}
    configs = {name: {**BASE, **more, "data": data} for name, more in SETTINGS.items()}
    warmed = write_warmed(root / "warmed.safetensors", "test_efficientnet", few, root / "cache")
    for name in configs:
        if name.startswith("norms"):
            configs[name]["weights"] = str(warmed)
    return root, [*launch(1, configs, root / "one"), *launch(2, configs, root / "two")]


def launch(ranks: int, configs: dict[str, Any], root: Path) -> list[Said]:
    """Answers of every rank, by configuration."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(ranks):
        # What torchrun gives a rank, from which torch and Accelerate take their bearings; a single process has none.
        numbers = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": ranks,
            "LOCAL_WORLD_SIZE": ranks,
            "MASTER_PORT": port,
        }
        launched = {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in numbers.items()}}
        command = [sys.executable, "-c", RANK, str(ranks), json.dumps(configs), str(root)]
        environment = {**os.environ, **(launched if ranks > 1 else {})}
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    outputs = [process.communicate(timeout=400)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * ranks
    return [dict(json.loads(line) for line in output.splitlines() if line.startswith("[")) for output in outputs]


def test_the_data_set_is_odd(few: Path) -> None:
    assert len(list((few / "train").rglob("*.png"))) % 2 == 1
    assert len(list((few / "val").rglob("*.png"))) % 2 == 1


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "bf16"])
def test_two_ranks_train_the_weights_of_one(name: str, ran: tuple[Path, list[Said]]) -> None:
    root, (one, first, second) = ran
    assert first[name] == second[name]
    for ours, theirs in zip(one[name]["reports"], first[name]["reports"], strict=True):
        assert ours["metrics"] == pytest.approx(theirs["metrics"], rel=1e-4)
        assert ours["metrics"]["val/accuracy"] == theirs["metrics"]["val/accuracy"]
    assert_close(*(root / side / name / "checkpoints" / "last" for side in ("one", "two")))


@pytest.mark.parametrize("name", ["none", "sampler", "norms"])
def test_parts_of_a_batch_add_up_to_it(name: str, ran: tuple[Path, list[Said]]) -> None:
    root, _ = ran
    assert_close(*(root / "one" / folder / "checkpoints" / "last" for folder in (name, f"{name} in parts")))


@pytest.mark.parametrize("name", SETTINGS)
def test_one_model_is_prepared_and_wrapped_at_most_once_after_two_boundaries(
    name: str, ran: tuple[Path, list[Said]]
) -> None:
    for said in ran[1]:
        assert said[name]["prepared"] == [[1, 1]] * 3
        assert said[name]["layers"] == [[name == "bf16", True]] * 3


def test_features_are_used_where_nothing_is_drawn_anew(ran: tuple[Path, list[Said]]) -> None:
    for said in ran[1]:
        for name in SETTINGS:
            frozen = name not in ("cutmix", "mixup", "images")
            assert said[name]["cached"] == [frozen, frozen, False], name


def test_two_ranks_on_features_train_the_weights_of_two_ranks_on_images(ran: tuple[Path, list[Said]]) -> None:
    root, _ = ran
    for side in ("one", "two"):
        assert_close(*(root / side / name / "checkpoints" / "last" for name in ("none", "images")))


def assert_close(one: Path, other: Path) -> None:
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(
            theirs[name], tensor, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )

"""Rules for every architecture under every strategy: exactly the planned parameters train, the rest stands still.

DESIGN, "Freezing is one concept". Random weights and a dozen images: what is frozen and what moves does not depend on
what is learned.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.models import build_model_with_cfg, register_model
from torch import nn

from trainables.config import TrialConfig
from trainables.loop.train import train
from trainables.model.build import build_model
from trainables.model.freeze import changing_names
from trainables.model.freeze_plan import freeze_plan
from trainables.model.stages import stage_table
from trainables.storage.folders import TrialFolders
from trainables.task import classification as module

pytestmark = pytest.mark.seconds(30)

NARROW = ("resnet50", "vgg16_bn", "swin_tiny_patch4_window7_224")
default_cfgs: dict[str, dict[str, Any]] = {f"narrow_{architecture}": {} for architecture in NARROW}
"""Where timm looks for what it knows of the pretrained weights of the models registered below: there are none."""


@register_model
def narrow_vgg16_bn(pretrained: bool = False, **settings: Any) -> nn.Module:
    """VGG16-BN, each layer a sixteenth as wide."""
    widths = [4, 4, "M", 8, 8, "M", 16, 16, 16, "M", 32, 32, 32, "M", 32, 32, 32, "M"]
    settings |= {"norm_layer": nn.BatchNorm2d, "mlp_ratio": 1 / 16}
    return build_model_with_cfg(timm.models.VGG, "narrow_vgg16_bn", pretrained, model_cfg=widths, **settings)


@register_model
def narrow_resnet50(pretrained: bool = False, **settings: Any) -> nn.Module:
    """ResNet50, each block an eighth as wide."""
    return timm.models.resnet50(pretrained, channels=(8, 16, 32, 64), stem_width=8, **settings)


@register_model
def narrow_swin_tiny_patch4_window7_224(pretrained: bool = False, **settings: Any) -> nn.Module:
    """Swin-T, each block an eighth as wide."""
    widths = {"embed_dim": 12, "num_heads": (1, 2, 3, 6)}
    return timm.models.swin_tiny_patch4_window7_224(pretrained, **settings, **widths)


# The architectures people fine-tune, one of each family, and two that timm builds in ways of their own: a transformer
# with two heads, attention with norms in its heads. The ones whose size is built in are seen at it. What moves does not
# depend on the width: three of them are narrow here, and as wide as people use them in the soak tests.
IMAGE_SIZES = {
    "resnet18": 32,
    "resnet50": 32,
    "efficientnet_b0": 32,
    "mobilenetv3_small_100": 32,
    "mobilenetv2_100": 32,
    "vgg16_bn": 32,
    "convnext_atto": 32,
    "vit_tiny_patch16_224": 224,
    "swin_tiny_patch4_window7_224": 224,
    "deit_tiny_distilled_patch16_224": 224,
    "levit_128s": 224,
}
STRATEGIES: dict[str, dict[str, Any]] = {
    "head": {"epochs": 1},
    "partial": {"epochs": 1, "trainable_stages": 2},
    "progressive": {"epochs": 2, "unfreeze_epoch": 1},
    "gradual": {"epochs": 3, "last_stage_epoch": 1, "full_after": 1},
    "full": {"epochs": 1},
}
# Every architecture under every strategy; the other settings take turns, so that each meets each strategy.
FIXED = {"weights": "none", "batch_size": 4, "lr": 0.01, "dropout": 0.1, "scheduler": "constant"}
OPTIMIZERS = ("adamw", "sgd", "adam")
BALANCES = ("none", "loss", "sampler")


def _cases() -> Iterator[Any]:
    for row, architecture in enumerate(IMAGE_SIZES):
        for column, strategy in enumerate(STRATEGIES):
            # VGG has 134 million parameters: Adam's moments of them cost a gigabyte an epoch.
            optimizer = "sgd" if architecture == "vgg16_bn" else OPTIMIZERS[(row + column) % 3]
            settings = (strategy, optimizer, BALANCES[(row + 2 * column) % 3], (row + column) % 2)
            if architecture in NARROW:
                yield pytest.param(f"narrow_{architecture}", *settings)
            yield pytest.param(architecture, *settings, marks=[pytest.mark.soak] * (architecture in NARROW))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of noise to train on and two to validate on, of two classes."""
    root = tmp_path_factory.mktemp("noise")
    chance = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for number in range(count):
            path = root / split / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(chance.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return root


class Watch:
    """Observe a trial's model in train mode from outside, through forward hooks."""

    def __init__(self) -> None:
        self.model: nn.Module = nn.Identity()
        self.graph: dict[str, bool] = {}
        self.training: dict[str, bool] = {}

    def build(self, config: TrialConfig, num_classes: int) -> nn.Module:
        self.model = build_model(config, num_classes)
        for name, child in self.model.named_modules():
            child.register_forward_hook(lambda child, _, output, name=name: self._seen(name, child, output))
        return self.model

    def _seen(self, name: str, child: nn.Module, output: Any) -> None:
        # Evaluation is no matter of freezing.
        if not torch.is_inference_mode_enabled():
            self.training[name] = child.training
            if isinstance(output, torch.Tensor):
                self.graph[name] = output.requires_grad


def owned(model: nn.Module) -> dict[str, set[str]]:
    """Names of the parameters below each module."""
    return {
        path: {f"{path}.{name}" for name, _ in child.named_parameters()}
        for path, child in model.named_modules()
        if path
    }


@pytest.mark.parametrize(("architecture", "strategy", "optimizer", "balance", "views"), [*_cases()])
def test_exactly_what_the_plan_thaws_moves(
    architecture: str,
    strategy: str,
    optimizer: str,
    balance: str,
    views: int,
    noise: Path,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = TrialConfig.model_validate(
        {
            "data": {
                "root": noise,
                "image_size": IMAGE_SIZES[architecture.removeprefix("narrow_")],
                "resize_mode": "squash",
            },
            **FIXED,
            "architecture": architecture,
            "strategy": strategy,
            "optimizer": optimizer,
            "balance": balance,
            "feature_views": views,
            **STRATEGIES[strategy],
        }
    )
    folders = TrialFolders(tmp_path / "checkpoints", tmp_path / "predictions.parquet", cache_dir)
    watch = Watch()
    monkeypatch.setattr(module, "build_model", watch.build)
    plan, before = freeze_plan(config), build_model(config, 2).state_dict()
    for epoch, _ in enumerate(train(config, folders)):
        model, stages = watch.model, stage_table(watch.model)
        planned = stages.trainable(plan.stages_at(epoch))
        after = load_file(folders.last / "model.safetensors")
        moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
        frozen = {path for path, names in owned(model).items() if names and not names & planned}

        # Trainable is what the plan says, and what is not stays as it was to the last bit, statistics included.
        assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == planned
        parameters = {name for name, _ in model.named_parameters()}
        assert moved & parameters <= planned
        statistics = {name for name, _ in model.named_buffers()}
        assert not {name for name in moved & statistics if name.rpartition(".")[0] in frozen}

        # A checkpoint may leave out what is not named here.
        changing = changing_names(model, config.norm_stats)
        assert moved <= changing
        assert changing & parameters == planned

        # What has been thawed moves: every kernel, something in every stage, and the statistics of its norms.
        assert {name for name in planned if model.get_parameter(name).ndim > 1} <= moved
        assert all(moved & {*stage} for stage in (*stages.backbone, stages.head) if planned >= {*stage})
        running = {
            f"{path}.running_mean"
            for path, child in model.named_modules()
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and path not in frozen
        }
        assert running <= moved

        # Frozen modules were in eval mode while the rest trained, and left nothing to differentiate.
        assert not any(watch.training[path] for path in frozen & watch.training.keys())
        prefix = {path for path, names in owned(model).items() if names and names <= {*stages.backbone[0]}}
        # On cached features they need not have run at all.
        assert prefix & watch.graph.keys() or (views and plan.stages_at(epoch) != "all")
        for path in prefix & watch.graph.keys():
            assert watch.graph[path] == (plan.stages_at(epoch) == "all")
        before = after

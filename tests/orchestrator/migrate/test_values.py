from typing import Any

import pytest
import timm
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.migrate.values import _ARCHITECTURES, CONVERTERS, UnknownValue


def test_every_architecture_is_one_of_timm() -> None:
    assert [name for name in _ARCHITECTURES.values() if not timm.is_model(name)] == []


@pytest.mark.parametrize(
    ("given_", "name"),
    [
        ("efficientnet_b0", "efficientnet_b0"),
        ("EfficientNet-B0", "efficientnet_b0"),
        ("mobilenet_v3_large", "mobilenetv3_large_100"),
        ("mobilenet_v2", "mobilenetv2_100"),
        ("resnet50", "resnet50"),
        ("ResNet50", "resnet50"),
        ("vgg16_bn", "vgg16_bn"),
        ("resnet50.a1_in1k", "resnet50.a1_in1k"),
        ("timm/resnet18", "resnet18"),
        ("mobilenetv2_100", "mobilenetv2_100"),
    ],
)
def test_architectures(given_: str, name: str) -> None:
    assert CONVERTERS["architecture"](given_) == name


@pytest.mark.parametrize(
    ("setting", "value", "meant"),
    [
        ("optimizer", "AdamW", "adamw"),
        ("optimizer", "SGD", "sgd"),
        ("scheduler", "CosineAnnealingLR", "cosine"),
        ("scheduler", "ReduceLROnPlateau", "plateau"),
        ("scheduler", "one-cycle", "one_cycle"),
        ("scheduler", "StepLR", "step"),
        ("scheduler", None, "constant"),
        ("augmentation", True, "medium"),
        ("augmentation", False, "none"),
        ("augmentation", "heavy", "strong"),
        ("pretrained", True, "pretrained"),
        ("pretrained", "IMAGENET1K_V2", "pretrained"),
        ("pretrained", False, "none"),
        ("sampler", "yes", True),
        ("class_weights", "balanced", True),
        ("freeze", "false", False),
        ("data.image_size", [224, 224], 224),
        ("data.image_size", [3, 96, 96], 96),
        ("data.image_size", "160x160", 160),
        ("data.image_size", "(3, 64, 64)", 64),
        ("data.image_size", 32, 32),
        ("lr", "1e-3", 0.001),
        ("epochs", 20.0, 20),
        ("clip_norm", 0, "none"),
        ("train_dir", "photos/train/", "photos/train/"),
        ("optimizer", "torch.optim.AdamW", "adamw"),
        ("scheduler", "torch.optim.lr_scheduler.StepLR", "step"),
        ("weights_choice", "ResNet50_Weights.IMAGENET1K_V2", "pretrained"),
        ("weights_choice", "runs/best.pth", "runs/best.pth"),
        ("weights_choice", None, ""),
        ("pretrained", "model.safetensors", "model.safetensors"),
        ("freeze", "backbone", True),
        ("norm_stats", True, "frozen"),
        ("sampler", "WeightedRandomSampler", True),
        ("sampler", "random", False),
        ("loss", "nn.CrossEntropyLoss", "cross_entropy"),
        ("layers", "layer3, layer4", "layer3,layer4"),
        ("layers", ["layer4"], "layer4"),
        ("layers", 0, ""),
        ("mixup", 0.4, 0.4),
        ("mixup", True, True),
        ("frozen_epochs", "4", 4),
        ("frozen_stages", -1, -1),
        ("strategy", "linear_probe", "head"),
    ],
)
def test_what_a_value_means(setting: str, value: Any, meant: Any) -> None:
    assert CONVERTERS[setting](value) == meant


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("optimizer", "lamb", "Thaw has adam, adamw, sgd"),
        ("scheduler", {"a": 1}, "must be one word"),
        ("class_weights", [1.0, 2.0], "Thaw computes the weights"),
        ("data.image_size", [224, 256], "must be one side of a square"),
        ("data.root", "s3://bucket/photos", "must be a path on this machine"),
        ("data.root", 7, "must be a path"),
        ("train_dir", "photos/training", "must end in train/"),
        ("lr", "fast", "must be a number"),
        ("lr", [1], "must be a number"),
        ("unfreeze_at", "never", "must be a whole number"),
        ("architecture", "", "must be the name of a model"),
        ("checkpoint", "none", "names no file"),
        ("freeze", "auto", "must be true or false"),
        ("layers", 2, "a number of layers is not one of stages"),
        ("frozen_epochs", -1, "must be a whole number from 0"),
        ("strategy", "ddp", "Thaw has full, gradual, head, partial, progressive"),
    ],
)
def test_what_has_no_counterpart_says_why(setting: str, value: Any, reason: str) -> None:
    with pytest.raises(UnknownValue, match=reason):
        CONVERTERS[setting](value)


@given(
    st.sampled_from(sorted(CONVERTERS)),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5),
)
def test_any_value_is_understood_or_not(setting: str, value: Any) -> None:
    try:
        meant = CONVERTERS[setting](value)
    except UnknownValue:
        return
    assert isinstance(meant, str | int | float | bool)

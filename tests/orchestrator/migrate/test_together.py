from typing import Any

import pytest

from orchestrator.migrate.found import FoundValues
from orchestrator.migrate.together import merge_settings
from search_spaces.errors import InvalidInput


def merged(**values: Any) -> FoundValues:
    """Values that were found under keys of the same names, after the merge."""
    found = FoundValues("old.yaml")
    for setting, value in {"architecture": "resnet18", **values}.items():
        found.put(setting.replace("data_", "data."), value, f"old.{setting}")
    merge_settings(found, lambda path: path)
    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"freeze": True, "frozen_epochs": 3}, {"strategy": "progressive", "unfreeze_epoch": 3}),
        ({"frozen_epochs": 0}, {"strategy": "full"}),
        ({"strategy": "full"}, {"strategy": "full"}),
        ({"strategy": "partial", "thawed_stages": 2}, {"strategy": "partial", "trainable_stages": 2}),
        ({"head_lr": 0.1, "lr": 0.01, "backbone_lr": 0.01}, {"lr": 0.1, "backbone_lr_factor": 0.1}),
        ({"checkpoint": "a.pth", "pretrained": "pretrained"}, {"weights": "a.pth"}),
        ({"weights_choice": ""}, {"weights": "none"}),
        ({"focal": True, "focal_gamma": 3}, {"focal_gamma": 3}),
        ({"focal": False, "focal_gamma": 3}, {"focal_gamma": 0.0}),
        ({"ema": True}, {"ema_decay": 0.9998}),
        ({"cutmix": True, "mixup": False}, {"mixing": "cutmix"}),
        ({"data_name": "photos"}, {"data.root": "photos"}),
        ({"no_augmentation": True}, {"augmentation": "none"}),
    ],
)
def test_keys_become_the_setting_that_they_mean(values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert merged(**values).values == {"architecture": "resnet18", **expected}


def test_what_gives_way_is_said() -> None:
    found = merged(head_lr=0.1, lr=0.05, backbone_lr=0.01, cutmix=1.0, mixup=0.2, data_name="x", data_root="y")
    assert found.notes == ["old.lr gives way to old.head_lr, old.backbone_lr"]
    assert found.unknown == [
        "old.cutmix: 1.0 (Thaw mixes in one way: mixup)",
        "old.data_name: x (the photos are in old.data_root)",
    ]


def test_keys_that_disagree_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"old.freeze and old.thawed must agree, got True and False"):
        merged(freeze=True, thawed=True)
    with pytest.raises(InvalidInput, match=r"old.layers, old.thawed_stages: must agree, got different stages"):
        merged(layers="layer4", thawed_stages=2).check()

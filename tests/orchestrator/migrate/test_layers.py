import pytest

from orchestrator.migrate.layers import LayerStages, count_stages, stages_behind, trained_stages
from orchestrator.migrate.values import UnknownValue


@pytest.mark.parametrize(
    ("architecture", "names", "expected"),
    [
        ("resnet18", ["layer4"], LayerStages(1)),
        ("resnet18", ["layer4", "fc"], LayerStages(1)),
        ("resnet18", ["backbone.layer3", "model.layer4"], LayerStages(2)),
        ("resnet18", ["layer4.1"], LayerStages(1, exact=False)),
        ("resnet18", ["fc"], LayerStages(0)),
        ("resnet18", [], LayerStages(0)),
        ("resnet18", ["all"], LayerStages("all")),
        ("resnet18", ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], LayerStages("all")),
        ("efficientnet_b0", ["blocks.5", "blocks.6"], LayerStages(2, exact=False)),
        ("efficientnet_b0", ["blocks.6", "conv_head", "bn2"], LayerStages(1)),
        ("vit_tiny_patch16_224", ["blocks.10", "blocks.11", "norm", "head"], LayerStages(2)),
    ],
)
def test_layers_that_train(architecture: str, names: list[str], expected: LayerStages) -> None:
    assert trained_stages(architecture, names) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["conv1", "bn1", "layer1"], LayerStages(3)),
        (["conv1", "layer1"], LayerStages(3, exact=False)),
        (["backbone"], LayerStages(0)),
        (["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], LayerStages(0)),
    ],
)
def test_layers_that_are_frozen(names: list[str], expected: LayerStages) -> None:
    assert stages_behind("resnet18", names) == expected


@pytest.mark.parametrize("names", [["layer4"], ["layer1"], ["conv1", "fc"], ["wings"]])
def test_frozen_layers_that_no_strategy_leaves(names: list[str]) -> None:
    with pytest.raises(UnknownValue):
        stages_behind("resnet18", names)


@pytest.mark.parametrize("names", [["layer3"], ["layer2", "layer4"], ["wings"], ["layer"]])
def test_trained_layers_that_no_strategy_trains(names: list[str]) -> None:
    with pytest.raises(UnknownValue):
        trained_stages("resnet18", names)


def test_numbers_of_stages() -> None:
    assert count_stages("resnet18", trained=2) == LayerStages(2)
    assert count_stages("resnet18", trained=5) == LayerStages("all")
    assert [count_stages("resnet18", frozen=frozen).stages for frozen in (-1, 0, 4)] == ["all", 4, 0]
    with pytest.raises(UnknownValue, match="resnet18 has 5 stages"):
        count_stages("resnet18", frozen=5)

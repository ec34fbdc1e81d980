from collections import Counter
from functools import cache
from typing import Any

import pytest
import timm
import torch

from search_spaces.errors import InvalidInput
from trainables.model.stages import StageTable, classifier_parameters, stage_table

# Number of stages, and what the last of them holds besides blocks. timm may regroup in a later version: a plan that
# meant one thing then means another, so this table is frozen.
TABLES = {
    "resnet18": (5, {"layer4"}, {"fc"}),
    "resnet50": (5, {"layer4"}, {"fc"}),
    "efficientnet_b0": (8, {"blocks.6", "conv_head", "bn2"}, {"classifier"}),
    "mobilenetv3_small_100": (7, {"blocks.5", "conv_head"}, {"classifier"}),
    "mobilenetv3_large_100": (8, {"blocks.6", "conv_head"}, {"classifier"}),
    "mobilenetv2_100": (8, {"blocks.6", "conv_head", "bn2"}, {"classifier"}),
    "tf_mobilenetv3_small_100": (7, {"blocks.5", "conv_head"}, {"classifier"}),
    "vgg16_bn": (5, {*(f"features.{layer}" for layer in (34, 35, 37, 38, 40, 41)), "pre_logits"}, {"head.fc"}),
    "convnext_atto": (5, {"stages.3", "head.norm"}, {"head.fc"}),
    "vit_tiny_patch16_224": (13, {"blocks.11", "norm"}, {"head"}),
    "swin_tiny_patch4_window7_224": (5, {"layers.3", "norm"}, {"head.fc"}),
}

FAMILIES = [
    *("densenet121", "regnetx_002", "deit_tiny_distilled_patch16_224", "levit_128s", "edgenext_xx_small"),
    *("inception_v3", "ghostnet_100", "mixer_b16_224", "vgg11", "crossvit_tiny_240", "mobilevit_xxs", "dla34"),
    *("cait_xxs24_224", "resnet50_clip", "nfnet_f0", "hrnet_w18_small", "coat_tiny", "efficientvim_m1", "test_vit"),
]


@cache
def model(architecture: str) -> Any:
    # Only names and shapes matter here.
    with torch.device("meta"):
        return timm.create_model(architecture, num_classes=7)


@cache
def table(architecture: str) -> StageTable:
    return stage_table(model(architecture))


def holds(names: tuple[str, ...], prefixes: set[str]) -> bool:
    """Return whether all of `names`, and at least one for each prefix, lie under `prefixes`."""
    under = [{prefix for prefix in prefixes if name.startswith(f"{prefix}.")} for name in names]
    return all(under) and set().union(*under) == prefixes


@pytest.mark.parametrize("architecture", TABLES)
def test_the_stage_tables_are_frozen(architecture: str) -> None:
    stages, last, head = TABLES[architecture]
    found = table(architecture)
    assert len(found.backbone) == stages
    assert holds(found.backbone[-1], last)
    assert holds(found.head, head)


def test_vgg_is_divided_between_its_poolings() -> None:
    stages = [[name.split(".") for name in stage] for stage in table("vgg16_bn").backbone]
    assert [sorted({int(layer) for part, layer, *_ in stage if part == "features"}) for stage in stages] == [
        [0, 1, 3, 4],
        [7, 8, 10, 11],
        [14, 15, 17, 18, 20, 21],
        [24, 25, 27, 28, 30, 31],
        [34, 35, 37, 38, 40, 41],
    ]


@pytest.mark.parametrize("architecture", [*TABLES, *FAMILIES])
def test_every_parameter_is_in_exactly_one_place_and_the_head_is_the_classifier(architecture: str) -> None:
    built, found = model(architecture), table(architecture)
    places = Counter([*found.head, *(name for stage in found.backbone for name in stage)])
    assert set(places.values()) == {1}
    assert set(places) == {name for name, _ in built.named_parameters()}
    assert all(found.backbone)

    classifiers = built.get_classifier()
    classifiers = classifiers if isinstance(classifiers, tuple) else (classifiers,)
    own = {id(parameter) for classifier in classifiers for parameter in classifier.parameters()}
    assert {id(built.get_parameter(name)) for name in found.head} == own


@pytest.mark.parametrize("architecture", [*TABLES, *FAMILIES])
def test_what_trains_grows_from_the_head(architecture: str) -> None:
    found = table(architecture)
    trainable = [found.trainable(stages) for stages in range(len(found.backbone))]
    assert trainable[0] == frozenset(found.head)
    for number in range(1, len(trainable)):
        assert trainable[number] - trainable[number - 1] == frozenset(found.backbone[-number])
    assert found.trainable("all") == {name for name, _ in model(architecture).named_parameters()}
    assert found.trainable("all") - trainable[-1] == frozenset(found.backbone[0])


def test_all_stages_but_by_another_name() -> None:
    assert len(table("resnet18").trainable(4)) < len(table("resnet18").trainable("all"))
    for stages in (5, 99):
        with pytest.raises(InvalidInput) as caught:
            table("resnet18").trainable(stages)
        assert str(caught.value) == (
            f"trainable_stages must be below the model's number of stages, got {stages} of 5; "
            "use strategy full to train everything"
        )


def test_distilled_models_have_two_classifiers() -> None:
    assert table("deit_tiny_distilled_patch16_224").head == (
        *("head.bias", "head.weight", "head_dist.bias", "head_dist.weight"),
    )


@pytest.mark.parametrize("architecture", ["poolformer_s12", "rdnet_tiny", "pit_ti_224"])
def test_an_architecture_that_timm_does_not_group_is_refused(architecture: str) -> None:
    with pytest.raises(InvalidInput, match=r"must be one that timm divides into stages, got .*; choose another"):
        table(architecture)


def test_a_model_without_a_classifier_is_refused() -> None:
    with pytest.raises(
        InvalidInput, match=r"must be an image classifier, got ResNet, which has no classification head"
    ):
        classifier_parameters(timm.create_model("resnet10t", num_classes=0))
    with pytest.raises(
        InvalidInput, match=r"must be an image classifier, got Linear, which has no classification head"
    ):
        classifier_parameters(torch.nn.Linear(2, 2))

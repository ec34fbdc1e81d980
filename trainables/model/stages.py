"""The stages of a timm model: what a freeze plan counts.

timm's own coarse grouping decides (`group_matcher(coarse=True)`): one group, one stage. Two rules are added. What timm
puts beside the classifier in its last group (MobileNetV3's conv_head, VGG's pre_logits, a final norm) belongs to the
stage before. VGG is grouped layer by layer: there the layers between two poolings are one stage.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from search_spaces.errors import InvalidInput
from trainables.model.freeze_plan import Stages

if TYPE_CHECKING:
    from timm.models import VGG


@dataclass(frozen=True)
class StageTable:
    """Parameter names of a model, by stage."""

    head: tuple[str, ...]
    """Parameters of exactly `model.get_classifier()`."""

    backbone: tuple[tuple[str, ...], ...]
    """Parameters of each stage, from the stem to the one before the classifier."""

    def by_stage(self, names: frozenset[str]) -> list[tuple[int, frozenset[str]]]:
        """`names` by stage, nearest to the head first: 0 is the head, 1 the stage before it; empty ones left out."""
        stages = [self.head, *reversed(self.backbone)]
        chosen = [(number, names.intersection(stage)) for number, stage in enumerate(stages)]
        return [(number, found) for number, found in chosen if found]

    def trainable(self, stages: Stages) -> frozenset[str]:
        """Return the names that train when `stages` stages, counted from the head, are thawed.

        Raises InvalidInput when a number of stages covers the whole backbone, because that is `full` by another name.
        """
        if stages == "all":
            return frozenset(self.head).union(*self.backbone)
        if stages >= len(self.backbone):
            raise InvalidInput(
                f"trainable_stages must be below the model's number of stages, got {stages} of {len(self.backbone)}; "
                "use strategy full to train everything"
            )
        return frozenset(self.head).union(*self.backbone[len(self.backbone) - stages :])


def stage_table(model: Any) -> StageTable:
    """Group the parameters of a timm classifier into its head and its stages.

    Raises InvalidInput for the few timm models that have no classifier, or that timm does not group.
    """
    from timm.models import VGG, group_parameters  # takes seconds, and weights are found without it

    head = classifier_parameters(model)
    try:
        groups = group_parameters(model, model.group_matcher(coarse=True))
    except (AttributeError, AssertionError) as error:
        raise InvalidInput(
            f"architecture must be one that timm divides into stages, got {type(model).__name__}, where it does not "
            f"({error}); choose another architecture"
        ) from error
    stages = [[name for name in groups[key] if name not in head] for key in sorted(groups)]
    if isinstance(model, VGG):
        stages = _between_poolings(model, stages)
    beside_classifier = stages.pop()
    stages[-1].extend(beside_classifier)
    return StageTable(head=tuple(sorted(head)), backbone=tuple(tuple(stage) for stage in stages))


def classifier_parameters(model: Any) -> frozenset[str]:
    """Return the names of the parameters of `get_classifier()`; distilled models have two classifiers."""
    classifier = model.get_classifier() if hasattr(model, "get_classifier") else ()
    modules = classifier if isinstance(classifier, tuple) else (classifier,)
    own = {id(parameter) for module in modules for parameter in module.parameters()}
    if not own:
        raise InvalidInput(
            f"architecture must be an image classifier, got {type(model).__name__}, which has no classification head; "
            "choose another architecture"
        )
    return frozenset(name for name, parameter in model.named_parameters() if id(parameter) in own)


def _between_poolings(model: "VGG", groups: list[list[str]]) -> list[list[str]]:
    poolings = [index for index, layer in enumerate(model.features) if isinstance(layer, nn.MaxPool2d)]
    stages: list[list[str]] = [[] for _ in range(len(poolings) + 1)]
    for name in (name for group in groups for name in group):
        is_feature = name.startswith("features.")
        stage = sum(pooling < int(name.split(".")[1]) for pooling in poolings) if is_feature else len(poolings)
        stages[stage].append(name)
    return stages

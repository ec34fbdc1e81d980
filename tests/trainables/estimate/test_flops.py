from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainables.config import TrialConfig
from trainables.estimate.flops import forward_flops, training_flops
from trainables.model.build import bare_model
from trainables.model.freeze import set_train_mode, set_trainable
from trainables.model.stages import stage_table

SIZE = 64


def flops(architecture: str = "resnet18", **values: Any) -> tuple[float, ...]:
    base = {"data": {"root": "photos", "image_size": SIZE}, "epochs": 4, "lr": 1e-3, "strategy": "full"}
    return training_flops(TrialConfig.model_validate({**base, "architecture": architecture, **values}))


def counted_by_torch(architecture: str, stages: Any) -> float:
    """Forward and backward of one image as torch counts them while they run, the frozen part's forward among them."""
    model = bare_model(architecture, 2)
    set_trainable(model, stage_table(model).trainable(stages))
    set_train_mode(model)
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(2, 3, SIZE, SIZE)).sum().backward()
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(("stages", "strategy"), [("all", {"strategy": "full"}), (2, {"strategy": "partial"})])
def test_without_grouped_convolutions_it_is_what_torch_counts(stages: Any, strategy: dict[str, Any]) -> None:
    values = {"trainable_stages": stages} if stages != "all" else {}
    expected = counted_by_torch("resnet18", stages)
    # Without fixed views the frozen part is run in every epoch.
    assert flops(**strategy, **values, feature_views=0) == pytest.approx([expected] * 4, rel=1e-6)


def test_a_head_on_cached_features_costs_the_head_alone() -> None:
    """512 features, 2 classes, 2 operations each: once forward, once for the gradient of the weights."""
    assert flops(strategy="head") == (512 * 2 * 2 * 2,) * 4


def test_frozen_parts_cost_their_forward_pass_where_they_are_run() -> None:
    """A third of a training of everything, which goes forward once and backward twice."""
    (full, *_), (frozen, *_) = flops(), flops(strategy="head", augmentation="light")
    assert frozen / full == pytest.approx(1 / 3, rel=0.05)


def test_each_epoch_costs_what_its_plan_thaws() -> None:
    head, last, full, again = flops(strategy="gradual", last_stage_epoch=1, full_after=1)
    assert head < last < full == again
    assert (head, full) == (flops(strategy="head")[0], flops()[0])


def test_a_depthwise_convolution_is_not_a_dense_one() -> None:
    """Backward is twice forward, but for the first layer, whose input needs no gradient; torch says 20 times."""
    (full, *_), (frozen, *_) = flops("mobilenetv2_100"), flops("mobilenetv2_100", strategy="head", augmentation="light")
    assert full / frozen == pytest.approx(3, rel=0.05)
    assert counted_by_torch("mobilenetv2_100", "all") > 5 * full


def test_larger_images_cost_more() -> None:
    small, large = (flops(data={"root": "photos", "image_size": size})[0] for size in (64, 128))
    assert large / small == pytest.approx(4, rel=0.05)


def test_a_forward_pass_is_a_third_of_training_everything() -> None:
    given = {"data": {"root": "photos", "image_size": 224}, "epochs": 1, "lr": 1e-3, "strategy": "full"}
    config = TrialConfig.model_validate({**given, "architecture": "resnet18"})
    assert forward_flops(config) == pytest.approx(3.63e9, rel=0.01), "1.8e9 multiplications and their additions"
    (trained,) = training_flops(config)
    assert trained / forward_flops(config) == pytest.approx(3, rel=0.03), "the first layer needs no gradient of images"

import gc
import weakref
from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from trainables.model.build import bare_model
from trainables.model.freeze import set_train_mode, set_trainable
from trainables.model.split_model import CannotCut, Cut, find_cut
from trainables.model.stages import stage_table

# What crosses, for head and partial 1, 2, 3: of 32 pixels, or of the size that is built in.
SHAPES: dict[str, tuple[int, list[tuple[tuple[int, ...], ...]]]] = {
    "resnet18": (32, [((512,),), ((256, 2, 2),), ((128, 4, 4),), ((64, 8, 8),)]),
    "resnet50": (32, [((2048,),), ((1024, 2, 2),), ((512, 4, 4),), ((256, 8, 8),)]),
    "efficientnet_b0": (32, [((1280,),), ((192, 1, 1),), ((112, 2, 2),), ((80, 2, 2),)]),
    "mobilenetv3_small_100": (32, [((1024,),), ((96, 1, 1),), ((48, 2, 2),), ((40, 2, 2),)]),
    "mobilenetv2_100": (32, [((1280,),), ((160, 1, 1),), ((96, 2, 2),), ((64, 2, 2),)]),
    "vgg16_bn": (32, [((4096,),), ((512, 2, 2),), ((256, 4, 4),), ((128, 8, 8),)]),
    "convnext_atto": (32, [((320,),), ((160, 2, 2),), ((80, 4, 4),), ((40, 8, 8),)]),
    "vit_tiny_patch16_224": (224, [((192,),), ((197, 192),), ((197, 192),), ((197, 192),)]),
    "swin_tiny_patch4_window7_224": (224, [((768,),), ((14, 14, 384),), ((28, 28, 192),), ((56, 56, 96),)]),
    "densenet121": (32, [((1024,),), ((512, 1, 1),), ((256, 2, 2),), ((128, 4, 4),)]),
    "deit_tiny_distilled_patch16_224": (224, [((192,), (192,)), ((198, 192),), ((198, 192),), ((198, 192),)]),
    "levit_128s": (224, [((384,),), ((49, 256),), ((196, 128),), ((196, 128),)]),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def cut_of(model: nn.Module, stages: int, size: int = 32) -> Cut:
    set_trainable(model, stage_table(model).trainable(stages))
    return find_cut(model, torch.rand(2, 3, size, size))


@pytest.mark.parametrize("architecture", SHAPES)
def test_the_cut_is_behind_all_that_is_frozen(architecture: str) -> None:
    size, shapes = SHAPES[architecture]
    model = bare_model(architecture, 3, dropout=0.3)
    assert [cut_of(model, stages, size).shapes for stages in range(4)] == shapes


@pytest.mark.parametrize("stages", [0, 2])
@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_convnext", "test_resnet"])
def test_both_parts_are_the_whole_in_either_mode(architecture: str, stages: int) -> None:
    model = bare_model(architecture, 3, dropout=0.5, drop_path=0.3)
    cut = cut_of(model, stages)
    images = torch.rand(5, 3, 32, 32)
    other = deepcopy(model)
    prefix, suffix = cut.prefix(model.eval()), cut.suffix(model)
    rows = prefix(images).detach()
    assert rows.shape == (5, cut.width)
    assert not any(parameter.requires_grad for parameter in prefix.parameters())
    for mode in (nn.Module.eval, set_train_mode):
        results = []
        for whole, part, given in ((other, other, images), (model, suffix, rows)):
            mode(whole)
            torch.manual_seed(1)
            logits = part(given)
            logits.square().sum().backward()
            results.append((logits, {name: p.grad for name, p in whole.named_parameters() if p.requires_grad}))
        torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-4, atol=1e-4)
    # It moved the very statistics of the model.
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, other.get_buffer(name), rtol=1e-4, atol=1e-5)


def test_the_suffix_shares_the_parameters_and_follows_the_mode() -> None:
    model = bare_model("test_efficientnet", 3, dropout=0.5)
    suffix = cut_of(model, 0).suffix(model)
    assert {id(p) for p in suffix.parameters()} == {id(p) for p in model.get_classifier().parameters()}
    rows = torch.ones(4, 256)
    set_train_mode(model)
    assert not torch.equal(suffix(rows), suffix(rows))
    model.eval()
    assert torch.equal(suffix(rows), suffix(rows))
    assert suffix.train() is suffix
    assert model.training
    assert not suffix.eval()._model[0].training


def test_a_cut_fits_any_model_of_its_architecture() -> None:
    one, other = (bare_model("test_efficientnet", 3, seed=seed) for seed in (1, 2))
    cut = cut_of(one, 1)
    images = torch.rand(2, 3, 32, 32)
    whole = other.eval()(images)
    torch.testing.assert_close(cut.suffix(other)(cut.prefix(other)(images)), whole, rtol=1e-5, atol=1e-5)


def test_features_do_not_depend_on_what_lies_behind_them() -> None:
    cuts = [cut_of(bare_model("test_vit", n, dropout=p), 0, 160) for n, p in ((3, 0.0), (5, 0.3))]
    assert cuts[0].digest == cuts[1].digest


def test_the_model_is_left_as_it_was() -> None:
    model = bare_model("test_efficientnet", 3, dropout=0.3)
    before, state = deepcopy(model.state_dict()), torch.get_rng_state()
    set_trainable(model, stage_table(model).trainable(2))
    images = torch.ones(2, 3, 32, 32)
    find_cut(model, images)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_parts_are_released_with_the_model() -> None:
    model = bare_model("test_efficientnet", 3)
    cut = cut_of(model, 0)
    parts = [cut.prefix(model), cut.suffix(model)]
    seen = weakref.ref(model.conv_stem)
    gc.collect()
    gc.disable()
    try:
        del model, parts
        assert seen() is None
    finally:
        gc.enable()
    assert cut.width == 256


class Untraceable(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features if features.sum() > 0 else -features


class Chance(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features + torch.rand_like(features)


def test_a_model_that_cannot_be_cut_says_why() -> None:
    model = bare_model("test_efficientnet", 3)
    model.global_pool = nn.Sequential(model.global_pool, Chance())
    with pytest.raises(CannotCut, match=r"^its two parts together do not give what the whole gives$"):
        cut_of(model, 0)
    model = bare_model("test_efficientnet", 3)
    forward = model.forward_head
    model.forward_head = lambda x: forward(Untraceable()(x))
    with pytest.raises(CannotCut, match=r"^it cannot be traced \(.*"):
        cut_of(model, 0)

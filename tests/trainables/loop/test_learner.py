"""A learner alone: one step, one epoch, one thaw. Whole trials are in `test_train`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from warmed_weights import write_warmed

from search_spaces.errors import InvalidInput, TrialFailed
from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.data.node_cache import NodeCache
from trainables.data.stats import channel_stats
from trainables.loop.learner import Learner
from trainables.model.freeze import set_train_mode

pytestmark = pytest.mark.usefixtures("one_thread")
Learners = Callable[..., Learner]

# Nothing that a share of a batch changes: BatchNorm in train mode sees the share alone.
NO_BATCHNORM = {"architecture": "test_convnext", "lr": 1e-2, "optimizer": "sgd", "weight_decay": 0.0}


@pytest.fixture
def learner(trial_config: Callable[..., TrialConfig], cache_dir: Path) -> Learners:
    def make(**settings: Any) -> Learner:
        config = trial_config(**{"scheduler": "constant", **settings})
        return Learner(config, load_arrays(config.data, cache_dir), NodeCache(cache_dir))

    return make


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in learner.model.named_parameters()}


def moved(learner: Learner, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in learner.model.named_parameters() if not torch.equal(value, before[name])}


def test_the_training_loss_falls_from_epoch_to_epoch(learner: Learners) -> None:
    own = learner()
    own.thaw(0)
    losses = [own.train_epoch(epoch, 0)["train/loss"] for epoch in range(4)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("features", [0, 1])
def test_only_what_is_thawed_moves(features: int, learner: Learners) -> None:
    own = learner(strategy="progressive", unfreeze_epoch=1, feature_views=features)
    head = frozenset(own.stages.head)
    for epoch, expected in ((0, head), (1, frozenset(dict(own.model.named_parameters())))):
        before = weights(own)
        own.thaw(epoch)
        own.train_epoch(epoch, 0)
        assert moved(own, before) == expected == own.thawed


def test_a_thaw_adds_groups_and_keeps_the_state_of_the_optimizer(learner: Learners) -> None:
    own = learner(strategy="progressive", unfreeze_epoch=1)
    own.thaw(0)
    own.train_epoch(0, 0)
    groups, state = len(own.optimizer.param_groups), dict(own.optimizer.state)
    assert state
    own.thaw(0)
    assert len(own.optimizer.param_groups) == groups, "there is nothing new"
    own.thaw(1)
    assert len(own.optimizer.param_groups) > groups
    assert own.optimizer.state.items() >= state.items()
    held = [parameter for group in own.optimizer.param_groups for parameter in group["params"]]
    assert len(held) == len({id(parameter) for parameter in held}) == len(own.thawed)


@pytest.fixture(scope="module")
def warmed(few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("weights")
    return str(write_warmed(folder / "warmed.safetensors", "test_efficientnet", few_digits, folder / "cache"))


@pytest.mark.parametrize(
    "settings",
    [{}, {"balance": "loss"}, {"mixing": "mixup", "mixing_alpha": 0.4}, {"norm_stats": "frozen", "decay_to": "start"}],
)
def test_a_step_in_parts_equals_the_step_on_the_whole_batch(
    settings: dict[str, Any], warmed: str, learner: Learners
) -> None:
    results = []
    if "norm_stats" in settings:
        settings = {**settings, "architecture": "test_efficientnet", "weights": warmed, "weight_decay": 0.1}
    for size in (16, 8, 3, 1):
        own = learner(**{**NO_BATCHNORM, **settings}, micro_batch_size=size)
        own.thaw(0)
        set_train_mode(own.model, own.config.norm_stats)
        own.phase.prepare(own.optimizer, 0)
        loss, weight = own._step(np.arange(16), 0, 0)
        results.append((loss, weight, weights(own)))
    for loss, weight, found in results[1:]:
        torch.testing.assert_close((loss, weight), results[0][:2], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found, results[0][2], rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_trains_under_frozen_statistics(warmed: str, learner: Learners) -> None:
    """Statistics of one 1x1 feature map do not exist: torch refuses them."""
    settings = {"architecture": "test_efficientnet", "weights": warmed, "batch_size": 1, "lr": 1e-4}
    own = learner(**settings, norm_stats="frozen")
    own.thaw(0)
    assert np.isfinite(own.train_epoch(0, 0)["train/loss"])


def test_decay_pulls_the_stages_to_their_start_and_the_head_to_zero(learner: Learners) -> None:
    own = learner(strategy="progressive", unfreeze_epoch=1, decay_to="start", optimizer="sgd", weight_decay=0.5)
    own.thaw(0)
    own.thaw(1)
    before = weights(own)
    with torch.no_grad():
        for parameter in own.model.parameters():
            parameter.add_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    moved_away = weights(own)
    for _ in range(5):
        own.optimizer.step()
        own.optimizer.zero_grad(set_to_none=False)
    for name, value in own.model.named_parameters():
        goal = torch.zeros(()) if name in own.stages.head else before[name]
        far, near = (moved_away[name] - goal).norm(), (value - goal).norm()
        assert near == far if value.ndim == 1 else near < 0.999 * far, name


def test_a_step_depends_on_nothing_that_ran_before(learner: Learners) -> None:
    found = []
    for seed in (1, 2):
        own = learner(**NO_BATCHNORM, dropout=0.5)
        own.thaw(0)
        own.phase.prepare(own.optimizer, 0)
        torch.manual_seed(seed)
        found.append(own._step(np.arange(16), 0, 0)[0])
    assert torch.equal(*found)


def test_the_moving_average_is_what_is_validated(learner: Learners) -> None:
    plain, averaged = learner(), learner(ema_decay=0.5)
    assert plain.trained is plain.model
    assert averaged.trained is not averaged.model
    averaged.thaw(0)
    averaged.train_epoch(0, 0)
    own, other = (dict(model.named_parameters()) for model in (averaged.model, averaged.trained))
    assert not any(torch.equal(own[name], other[name]) for name in averaged.stages.head)
    assert all(not value.requires_grad for value in other.values())
    outputs = averaged.validate()
    averaged.ema = None
    assert not np.allclose(outputs, averaged.validate())


def test_validation_gives_a_row_per_image_whatever_the_size_of_its_batches(learner: Learners) -> None:
    own = learner()
    whole = own.validate()
    own.memory.evaluation_batch = 5
    assert whole.shape == (18, 3)
    np.testing.assert_allclose(own.validate(), whole, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_finite_ends_the_trial(learner: Learners) -> None:
    own = learner(**{**NO_BATCHNORM, "lr": 100})
    own.thaw(0)
    with pytest.raises(TrialFailed, match=r"training loss must be finite, got .* in epoch \d, batch \d of 6, with lr"):
        for epoch in range(5):
            own.train_epoch(epoch, 0)


def test_inputs_are_normalized_as_the_weights_were_or_by_the_data(
    learner: Learners, caplog: pytest.LogCaptureFixture
) -> None:
    own = learner(normalization="dataset")
    assert (own.mean, own.std) == channel_stats(own.arrays.splits["train"].images)
    assert caplog.text == "", "random weights have seen no inputs"
    own = learner()
    assert (own.mean, own.std) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_half_precision_with_a_scaler_needs_a_gpu(learner: Learners) -> None:
    with pytest.raises(InvalidInput, match=r"precision: fp16 needs a GPU, but there is none; set bf16 or fp32"):
        learner(precision="fp16")

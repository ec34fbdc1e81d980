"""A classifier that is trained by itself: bit by bit what it is at the end of its network, whatever ran before it."""

import itertools
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from warmed_weights import write_warmed

from search_spaces.errors import TrialFailed
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.data.node_cache import NodeCache
from trainables.loop import frozen_backbone
from trainables.loop.frozen_backbone import HEAD_SETTINGS
from trainables.loop.head_learner import HeadLearner, open_learner
from trainables.loop.learner import Learner
from trainables.model.build import bare_model
from trainables.result import EpochReport

pytestmark = pytest.mark.usefixtures("one_thread")

Configs = Callable[..., TrialConfig]
Epochs = list[tuple[dict[str, float], np.ndarray]]

HEADS: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 3),
    "batch_size": st.sampled_from([7, 16, 200]),
    "micro_batch_size": st.sampled_from([None, 5]),
    "head_init": st.sampled_from(["random", "probe"]),
    "lr": st.sampled_from([1e-4, 1e-2, 0.3]),
    "backbone_lr_factor": st.just(0.5),
    "stage_lr_decay": st.just(0.5),
    "scheduler": st.sampled_from(["constant", "cosine", "step", "plateau", "one_cycle"]),
    "warmup_epochs": st.sampled_from([0.0, 1.5]),
    "thaw_warmup_epochs": st.just(1.0),
    "optimizer": st.sampled_from(["adamw", "adam", "sgd"]),
    "weight_decay": st.sampled_from([0.0, 0.1]),
    "decay_to": st.sampled_from(["zero", "start"]),
    "clip_norm": st.sampled_from([None, 0.05]),
    "ema_decay": st.sampled_from([None, 0.9]),
    "balance": st.sampled_from(["none", "sampler", "loss"]),
    "class_weighting": st.sampled_from(["inverse", "effective"]),
    "focal_gamma": st.sampled_from([0.0, 2.0]),
    "label_smoothing": st.sampled_from([0.0, 0.1]),
    "epochs": st.just(3),
    "objective": st.just({"metric": "val/loss"}),
    "patience": st.just(2),
    "min_delta": st.just(0.1),
}
TEACHER = {"teacher", "teacher_weight", "teacher_temperature"}


@pytest.fixture(scope="module")
def warmed(few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    return write_warmed(folder / "warmed.safetensors", "test_efficientnet", few_digits, folder / "cache")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> NodeCache:
    return NodeCache(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def head(trial_config: Configs, warmed: Path) -> Configs:
    """A trial of a frozen backbone, of two epochs."""

    def make(**given: Any) -> TrialConfig:
        return trial_config(**{"strategy": "head", "weights": str(warmed), **given})

    return make


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    frozen_backbone._known.clear()
    yield
    frozen_backbone._known.clear()


def opened(config: TrialConfig, cache: NodeCache) -> Learner | HeadLearner:
    return open_learner(config, load_arrays(config.data, cache.folder), cache)


def trained(learner: Learner | HeadLearner) -> Epochs:
    """Metrics and validation outputs of every epoch."""
    learner.start_head()
    found = []
    for epoch in range(learner.config.epochs):
        learner.thaw(epoch)
        found.append((learner.train_epoch(epoch, plateaus=epoch // 2), learner.validate()))
    return found


def whole(config: TrialConfig, cache: NodeCache) -> Epochs:
    return trained(Learner(config, load_arrays(config.data, cache.folder), cache))


def assert_equal(found: Epochs, expected: Epochs) -> None:
    for (metrics, outputs), (own, own_outputs) in zip(found, expected, strict=True):
        assert metrics == own
        np.testing.assert_array_equal(outputs, own_outputs)


def assert_trains_as_its_network(config: TrialConfig, cache: NodeCache) -> None:
    learner = opened(config, cache)
    assert isinstance(learner, HeadLearner)
    assert_equal(trained(learner), whole(config, cache))


def test_every_setting_of_the_head_is_drawn_below() -> None:
    assert HEADS.keys() | TEACHER == HEAD_SETTINGS


@given(chosen=st.fixed_dictionaries(HEADS))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_trains_what_the_whole_network_trains_bit_by_bit(
    chosen: dict[str, Any], head: Configs, cache: NodeCache
) -> None:
    assert_trains_as_its_network(head(**chosen), cache)


@pytest.mark.parametrize(
    "given",
    [
        {"dropout": 0.4},
        {"dropout": 0.4, "micro_batch_size": 5},
        {"augmentation": "light", "feature_views": 2, "epochs": 3},
        {"feature_dtype": "fp16"},
        {"normalization": "dataset"},
        {"channels_last": True},
        {"norm_stats": "frozen"},
    ],
)
def test_settings_of_the_features_too(given: dict[str, Any], head: Configs, cache: NodeCache) -> None:
    assert_trains_as_its_network(head(**given), cache)


@pytest.mark.parametrize(
    "architecture",
    ["tf_mobilenetv3_small_minimal_100", "test_resnet", "test_convnext", "test_vit", "test_efficientnet_gn"],
)
def test_other_architectures(architecture: str, head: Configs, cache: NodeCache, tmp_path: Path) -> None:
    weights = tmp_path / f"{architecture}.safetensors"
    save_file(bare_model(architecture, 10).state_dict(), weights)
    size = 160 if architecture == "test_vit" else 32
    config = head(architecture=architecture, weights=str(weights), dropout=0.2, data={"image_size": size})
    assert_trains_as_its_network(config, cache)


def test_a_result_depends_on_no_trial_before_it(head: Configs, cache: NodeCache) -> None:
    """Alone, among others in any order, some of which are stopped early, and interleaved with them."""
    points = [
        {"lr": lr, "balance": balance, "optimizer": optimizer, "seed": seed}
        for lr, balance, optimizer, seed in itertools.product(
            (1e-3, 1e-1), ("none", "sampler", "loss"), ("adamw", "sgd"), (1, 2)
        )
    ]
    alone = []
    for point in points:
        frozen_backbone._known.clear()
        alone.append(trained(opened(head(**point), cache)))
    order = list(range(len(points)))
    random.Random(0).shuffle(order)
    for place, number in enumerate(order):
        learner = opened(head(**points[number]), cache)
        if place % 3:
            assert_equal(trained(learner), alone[number])
        else:
            learner.train_epoch(0, 0)  # stopped by a scheduler
    learners = [opened(head(**point), cache) for point in points]
    found: list[Epochs] = [[] for _ in points]
    for epoch in range(2):
        for own, learner in zip(found, learners, strict=True):
            own.append((learner.train_epoch(epoch, epoch // 2), learner.validate()))
    for own, expected in zip(found, alone, strict=True):
        assert_equal(own, expected)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"weights": "none"}, "weights: none"),
        ({"augmentation": "light"}, "its features change"),
        ({"feature_views": 0}, "its features change"),
        ({"augmentation": "light", "feature_views": 2, "head_init": "probe"}, "head_init: probe"),
        ({"precision": "bf16"}, "precision: bf16"),
    ],
)
def test_what_is_trained_with_its_network_is_said(
    given: dict[str, Any], reason: str, head: Configs, cache: NodeCache, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert isinstance(opened(head(**given), cache), Learner)
    assert reason in caplog.text


def test_a_strategy_that_thaws_says_nothing(head: Configs, cache: NodeCache, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert isinstance(opened(head(strategy="progressive", unfreeze_epoch=1), cache), Learner)
    assert "by itself" not in caplog.text


def test_without_room_for_features_the_network_trains(
    head: Configs, cache: NodeCache, caplog: pytest.LogCaptureFixture
) -> None:
    small, config = NodeCache(cache.folder / "small", 10), head()
    learner = open_learner(config, load_arrays(config.data, cache.folder), small)
    assert isinstance(learner, Learner)
    assert "do not fit" in caplog.text


def resumed(config: TrialConfig, epochs: int) -> CheckpointState:
    """The state of a checkpoint after this many epochs, as far as a learner reads it."""
    values = {"metrics": {"val/macro_f1": 0.5}, "seconds": 1.0, "checkpoint": "last", "notes": ()}
    counts = {"total_parameters": 1, "trainable_parameters": 1, "cached": False}
    reports = tuple(EpochReport(epoch=epoch + 1, **values, **counts) for epoch in range(epochs))
    return CheckpointState(
        config=config, classes=("0", "1", "2"), fingerprint="f", mean=(0, 0, 0), std=(1, 1, 1), reports=reports
    )


@pytest.mark.parametrize(("epochs", "notes"), [(0, 1), (1, 0)])
def test_a_resumed_trial_does_not_repeat_the_note_of_its_first_epoch(
    epochs: int, notes: int, head: Configs, cache: NodeCache
) -> None:
    small, config = NodeCache(cache.folder / "small", 10), head()
    state = resumed(config, epochs) if epochs else None
    assert len(open_learner(config, load_arrays(config.data, cache.folder), small, state).notes) == notes


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_trial_resumes_after_any_epoch(epochs: int, head: Configs, cache: NodeCache) -> None:
    """Each needs other views of the images, after the last epoch none."""
    config = head(augmentation="light", feature_views=3, epochs=3)
    arrays = load_arrays(config.data, cache.folder)
    assert isinstance(open_learner(config, arrays, cache, resumed(config, epochs)), HeadLearner)


def test_features_that_were_removed_are_computed_anew(head: Configs, cache: NodeCache) -> None:
    config = head(lr=0.02)
    expected = trained(opened(config, cache))
    shutil.rmtree(cache.folder / "features")
    assert_equal(trained(opened(config, cache)), expected)
    assert isinstance(opened(config, cache), HeadLearner)


def test_weights_that_changed_in_place_are_read_anew(head: Configs, cache: NodeCache, warmed: Path) -> None:
    before = warmed.read_bytes()
    try:
        first = trained(opened(head(), cache))
        tensors = load_file(warmed)
        save_file({name: tensor * 1.5 for name, tensor in tensors.items()}, warmed)
        changed = trained(opened(head(), cache))
        assert not np.array_equal(first[0][1], changed[0][1])
        assert_equal(changed, whole(head(), cache))
    finally:
        warmed.write_bytes(before)


def test_a_loss_that_is_not_finite_ends_the_trial(head: Configs, cache: NodeCache) -> None:
    learner = opened(head(lr=100, optimizer="sgd", scheduler="constant", weight_decay=0.9), cache)
    with torch.no_grad():
        next(iter(learner.trained.parameters())).fill_(float("nan"))
    with pytest.raises(TrialFailed, match=r"got nan in epoch 1, batch 1 of 6, with lr 1.00e\+02; lower"):
        learner.train_epoch(0, 0)

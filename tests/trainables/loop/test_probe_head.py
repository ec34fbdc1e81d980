"""A head that starts at the linear probe, in a learner and in whole trials."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.data.node_cache import NodeCache
from trainables.loop.learner import Learner
from trainables.loop.probe_head import check_linear_head, start_at_probe
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders
from trainables.task.inference import predict_outputs
from trainables.task.logistic_probe import LogisticProbe

pytestmark = pytest.mark.usefixtures("one_thread")

Start = Callable[..., Learner]


@pytest.fixture
def start(trial_config: Callable[..., TrialConfig], tmp_path: Path) -> Start:
    """A learner whose head has its start."""

    def make(budget: int | None = None, **settings: object) -> Learner:
        config = trial_config(head_init="probe", **settings)
        cache = tmp_path / "cache"
        learner = Learner(config, load_arrays(config.data, cache), NodeCache(cache, budget))
        learner.start_head()
        return learner

    return make


def outputs(learner: Learner, split: str = "train") -> np.ndarray:
    """The logits of the whole model for images of a split."""
    images = learner.arrays.splits[split]
    return predict_outputs(learner.model, images, learner.mean, learner.std, torch.device("cpu"))


@pytest.mark.parametrize(
    "architecture",
    ["test_efficientnet", "test_resnet", "test_convnext", "tf_mobilenetv3_small_minimal_100", "test_mambaout"],
)
@pytest.mark.parametrize("balance", ["none", "sampler", "loss"])
def test_the_model_is_the_regression_on_its_own_features(architecture: str, balance: str, start: Start) -> None:
    learner = start(architecture=architecture, balance=balance, dropout=0.5)
    labels = learner.arrays.dataset.labels("train")
    head = learner.model.get_classifier()
    inputs: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, given: inputs.append(given[0]))
    found = outputs(learner)
    hook.remove()
    features = torch.cat(inputs).numpy()
    counts = np.bincount(labels)
    weights = np.ones(3) if balance == "none" else len(labels) / 3 / counts
    expected = LogisticProbe(labels, 3, weights).fit(features)
    np.testing.assert_allclose(found, features @ expected[:, :-1].T + expected[:, -1], rtol=1e-3, atol=1e-3)


def test_only_the_head_differs_from_a_random_start(start: Start, trial_config: Callable[..., TrialConfig]) -> None:
    learner = start()
    other = Learner(learner.config.model_copy(update={"head_init": "random"}), learner.arrays, learner.phase.cache)
    other.start_head()
    moved = {
        name
        for (name, one), two in zip(learner.model.state_dict().items(), other.model.state_dict().values(), strict=True)
        if not torch.equal(one, two)
    }
    assert moved == set(learner.stages.head)


@pytest.mark.parametrize("settings", [{}, {"augmentation": "strong"}, {"feature_views": 3, "augmentation": "light"}])
def test_features_and_head_are_computed_once_a_node(
    settings: dict[str, object], start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = outputs(start(**settings))
    files = sorted(path.name for path in (tmp_path / "cache").glob("*/*.npy") if path.parent.name != "images")
    assert len(files) == 2, "the features of the training images as evaluation has them, and a head"
    monkeypatch.setattr(LogisticProbe, "fit", None)
    np.testing.assert_array_equal(outputs(start(strategy="head", seed=7, lr=1e-5)), first)
    assert sorted(p.name for p in (tmp_path / "cache").glob("*/*.npy") if p.parent.name != "images") == files


@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_convnext", "tf_mobilenetv3_small_minimal_100"])
def test_the_head_is_linear_in_bf16_too(architecture: str, start: Start) -> None:
    """The arithmetic of the check rounds, the head is exact."""
    learner = start(architecture=architecture, precision="bf16")
    plain = start(architecture=architecture)
    agree = outputs(learner).argmax(axis=1) == outputs(plain).argmax(axis=1)
    assert agree.mean() > 0.9


@pytest.mark.parametrize("blocked", [("heads",), ("features", "heads")])
def test_a_cache_that_cannot_be_written_costs_time_alone(
    blocked: tuple[str, ...], start: Start, tmp_path: Path
) -> None:
    expected = outputs(start())
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    for name in blocked:
        (tmp_path / "cache" / name).touch()
    np.testing.assert_array_equal(outputs(start()), expected)


def test_a_node_without_room_starts_the_same(start: Start) -> None:
    kept = outputs(start())
    learner = start(budget=0)
    np.testing.assert_array_equal(outputs(learner), kept)


def test_a_resumed_trial_takes_its_head_from_the_checkpoint(
    trial_config: Callable[..., TrialConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = trial_config(head_init="probe", epochs=2, strategy="head")
    folders = TrialFolders(tmp_path / "checkpoints", tmp_path / "predictions.parquet", tmp_path / "cache")
    next(train(config, folders))
    shutil.rmtree(tmp_path / "cache" / "heads")
    monkeypatch.setattr(LogisticProbe, "fit", None)
    assert [report.epoch for report in train(config, folders, folders.last)] == [2]


def test_it_begins_where_a_random_head_is_not_yet(trial_config: Callable[..., TrialConfig], tmp_path: Path) -> None:
    losses = []
    for start in ("random", "probe"):
        config = trial_config(head_init=start, strategy="head", epochs=1, lr=1e-6)
        folders = TrialFolders(tmp_path / start, tmp_path / f"{start}.parquet", tmp_path / "cache")
        losses.append(next(train(config, folders)).metrics["val/loss"])
    assert losses[1] < 0.7 * losses[0]


class Scaled(nn.Module):
    """Logits that are no linear function of the classifier's input."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.num_classes = model.num_classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.model(images)) * 3

    def get_classifier(self) -> nn.Module:
        found: nn.Module = self.model.get_classifier()
        return found


def test_a_head_that_is_no_linear_layer_is_refused() -> None:
    model = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=3)
    with pytest.raises(InvalidInput, match=r"^head_init: probe needs a classifier that .* got several in deit"):
        check_linear_head(model, "deit_tiny_distilled_patch16_224")


def test_logits_that_are_not_linear_are_refused(start: Start) -> None:
    learner = start()
    scaled = Scaled(learner.model)
    for name, parameter in scaled.named_parameters():
        parameter.requires_grad_(name.removeprefix("model.") in learner.stages.head)
    config = learner.config.model_copy(update={"drop_path": 0.01})  # the cut of this model, not of the one inside
    with pytest.raises(InvalidInput, match="linear function of the classifier's input, got others of test_eff"):
        start_at_probe(config, scaled, learner.arrays.dataset, learner.images, learner.phase.cache, learner.accelerator)

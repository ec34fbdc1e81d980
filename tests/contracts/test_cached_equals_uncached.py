"""A frozen phase on cached features trains what it trains on images: the same losses, weights and predictions.

DESIGN, "Features once". Real pixels, small models; what is compared is one trial with the cache and one without.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from warmed_weights import write_warmed

from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.data.digits import write_digits
from trainables.loop import feature_training, phase_preparation
from trainables.loop.train import train
from trainables.model.freeze_plan import freeze_plan
from trainables.result import EpochReport
from trainables.storage.folders import TrialFolders
from trainables.task import classification

pytestmark = pytest.mark.usefixtures("one_thread")

Run = Callable[..., tuple[list[EpochReport], Path]]

PLANS: dict[str, dict[str, Any]] = {
    "head": {"strategy": "head", "epochs": 4},
    "partial": {"strategy": "partial", "trainable_stages": 2, "epochs": 4},
    "progressive": {"strategy": "progressive", "unfreeze_epoch": 2, "epochs": 4},
    "gradual": {"strategy": "gradual", "last_stage_epoch": 2, "full_after": 2, "epochs": 5},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "lr": 0.02, "micro_batch_size": 5, "clip_norm": 1.0},
    "loss and average": {"balance": "loss", "ema_decay": 0.9, "dropout": 0.3, "label_smoothing": 0.1},
    "channels last": {"channels_last": True, "optimizer": "adam", "balance": "sampler", "dropout": 0.3},
    "bf16": {"precision": "bf16", "dropout": 0.3},
    "stochastic depth": {"drop_path": 0.2, "dropout": 0.3, "normalization": "dataset"},
    "fixed views": {"feature_views": 2, "augmentation": "light", "random_erasing": 0.2, "dropout": 0.3},
    "probe": {"head_init": "probe", "decay_to": "start", "norm_stats": "frozen", "optimizer": "sgd", "lr": 0.001},
    "frozen statistics": {"norm_stats": "frozen", "optimizer": "sgd", "lr": 0.001},
}


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of the digits, 81 images to train on and 18 to validate on."""
    root = tmp_path_factory.mktemp("few")
    write_digits(root, keep={**dict.fromkeys(range(10), 0.0), 0: 0.1, 1: 0.3, 2: 0.3})
    return root


@pytest.fixture
def run(few: Path, tmp_path: Path) -> Run:
    """Trains a configuration, with a cache of this test's own; returns its reports and its folder.

    The folders of the checkpoints after each epoch stand beside it, as after1, after2, ...
    """

    def trained(name: str, resume_from: Path | None = None, **settings: Any) -> tuple[list[EpochReport], Path]:
        data = {"root": few, "image_size": 32, "resize_mode": "squash"}
        quick = {"architecture": "test_efficientnet", "weights": "none", "lr": 3e-3, "batch_size": 16, "seed": 7}
        if settings.get("norm_stats") == "frozen":
            path = tmp_path / "warmed.safetensors"
            quick["weights"] = str(write_warmed(path, "test_efficientnet", few, tmp_path / "others"))
        config = TrialConfig.model_validate({**quick, **settings, "data": data})
        folder = tmp_path / name
        folders = TrialFolders(folder / "checkpoints", folder / "predictions.parquet", tmp_path / "cache")
        reports = []
        for report in train(config, folders, resume_from):
            reports.append(report)
            shutil.copytree(folders.last, folder / f"after{report.epoch}")
        return reports, folder

    return trained


def cached(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.glob("cache/features/*.npy"))


def assert_agree(ours: tuple[list[EpochReport], Path], theirs: tuple[list[EpochReport], Path]) -> None:
    """The measure of the design, for a trial with the cache against one without.

    Convolutions round by the size of the batch. Adam makes whole steps of the rounding of gradients that are zero (a
    bias before BatchNorm), so that with it only the head can be told to be the same to the last digits.
    """
    config = CheckpointState.read(ours[1] / "after1").config
    plan = freeze_plan(config)
    last_frozen = max((epoch for epoch in range(len(ours[0])) if plan.stages_at(epoch) != "all"), default=-1)
    for epoch, (one, other) in enumerate(zip(ours[0], theirs[0], strict=True)):
        if epoch <= last_frozen:
            assert one.metrics["val/loss"] == pytest.approx(other.metrics["val/loss"], rel=1e-3)
            assert one.metrics["train/loss"] == pytest.approx(other.metrics["train/loss"], rel=1e-3)
    for boundary in {*(start for start in plan.boundaries if start), last_frozen + 1}:
        if config.optimizer != "sgd" and plan.stages_at(boundary - 1) != 0:
            continue
        assert_same_state(ours[1] / f"after{boundary}", theirs[1] / f"after{boundary}")
    predicted = [pq.read_table(folder / "predictions.parquet")["predicted"].to_numpy() for _, folder in (ours, theirs)]
    assert np.mean(predicted[0] == predicted[1]) >= 0.99


def assert_same_state(one: Path, other: Path, atol: float = 1e-6, rtol: float = 1e-5) -> None:
    for name in ("model.safetensors", "optimizer.safetensors", "ema.safetensors"):
        assert (one / name).exists() == (other / name).exists()
        if (one / name).exists():
            first, second = load_file(one / name), load_file(other / name)
            assert first.keys() == second.keys()
            for key, tensor in first.items():
                torch.testing.assert_close(tensor, second[key], rtol=rtol, atol=atol, msg=f"{name}: {key}")


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_convnext"])
@pytest.mark.parametrize("plan", PLANS)
def test_every_plan(plan: str, architecture: str, dropout: float, run: Run, tmp_path: Path) -> None:
    settings = {**PLANS[plan], "architecture": architecture, "dropout": dropout, "optimizer": "sgd", "lr": 0.01}
    ours, theirs = run("cached", **settings), run("uncached", **settings, feature_views=0)
    assert_agree(ours, theirs)
    # Of each phase in which something is frozen, the training and the validation images.
    assert len(cached(tmp_path)) == {"gradual": 4}.get(plan, 2)
    assert not any(report.notes for report in ours[0])


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting(settings: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {**PLANS["gradual"], **SETTINGS[settings]}
    ours = run("cached", **chosen)
    assert len(cached(tmp_path)) == (6 if settings == "fixed views" else 4)
    if settings == "fixed views":
        # Without them the images of a frozen phase would be drawn anew: what is compared is the cache alone.
        monkeypatch.setattr(phase_preparation, "open_features", refuse)
        theirs = run("uncached", **chosen)
    else:
        theirs = run("uncached", **chosen, feature_views=0)
    assert_agree(ours, theirs)


def refuse(*_: Any) -> None:
    raise feature_training.CannotCache("this is the other half of a test")


@pytest.mark.parametrize(
    "settings", [{"dropout": 0.3}, {"channels_last": True, "ema_decay": 0.9}, {"optimizer": "sgd", "drop_path": 0.2}]
)
def test_resuming_from_each_epoch(settings: dict[str, Any], run: Run) -> None:
    chosen = {**PLANS["gradual"], **settings}
    reports, whole = run("whole", **chosen)
    for epoch in range(1, len(reports)):
        torch.rand(epoch)
        rest, folder = run(f"from{epoch}", whole / f"after{epoch}", **chosen)
        assert [report.metrics for report in rest] == [report.metrics for report in reports[epoch:]]
        assert_same_state(folder / f"after{len(reports)}", whole / f"after{len(reports)}", atol=0, rtol=0)


def test_resuming_computes_no_features_of_phases_that_are_over(run: Run, tmp_path: Path) -> None:
    _, whole = run("whole", **PLANS["gradual"])
    shutil.rmtree(tmp_path / "cache")
    run("thawed", whole / "after4", **PLANS["gradual"])
    assert cached(tmp_path) == []
    run("last stage", whole / "after3", **PLANS["gradual"])
    assert len(cached(tmp_path)) == 2


def test_trials_share_features_where_these_are_the_same(run: Run, tmp_path: Path) -> None:
    head = PLANS["head"]
    run("first", **head)
    first = cached(tmp_path)
    assert len(first) == 2
    written = [path.stat().st_ino for path in first]
    run("other head", **head, lr=1e-2, dropout=0.3, balance="loss", optimizer="sgd", batch_size=8, drop_path=0.1)
    run("progressive", **PLANS["progressive"], ema_decay=0.9)
    assert [path.stat().st_ino for path in cached(tmp_path)] == written
    for number, other in enumerate(({"seed": 8}, {"feature_dtype": "fp16"}, {"normalization": "dataset"}), start=2):
        run(f"other features {number}", **{**head, "epochs": 1, **other})
        assert len(cached(tmp_path)) == 2 * number


def test_half_precision_features_are_half_as_large(run: Run, tmp_path: Path) -> None:
    ours, _ = run("fp16", **PLANS["head"], feature_dtype="fp16")
    theirs, _ = run("fp32", **PLANS["head"])
    half, whole = (
        sorted(np.load(path).nbytes for path in cached(tmp_path) if np.load(path).dtype == kind)
        for kind in (np.float16, np.float32)
    )
    assert [2 * size for size in half] == whole
    assert ours[-1].metrics["val/loss"] == pytest.approx(theirs[-1].metrics["val/loss"], rel=1e-2)


@pytest.mark.parametrize("damage", ["cut short", "gone", "another array"])
def test_a_damaged_cache_file_is_built_anew(damage: str, run: Run, tmp_path: Path) -> None:
    reports, whole = run("whole", **PLANS["head"])
    sound = {path: path.read_bytes() for path in cached(tmp_path)}
    for path in sound:
        path.unlink()
        if damage == "cut short":
            path.write_bytes(sound[path][:-100])
        elif damage == "another array":
            np.save(path, np.zeros((3, 3), dtype=np.float32))
    again, folder = run("again", **PLANS["head"])
    assert [report.metrics for report in again] == [report.metrics for report in reports]
    assert_same_state(folder / "after4", whole / "after4", atol=0, rtol=0)
    assert {path: path.read_bytes() for path in cached(tmp_path)} == sound


class OpenEnded(nn.Module):
    """Draws at random whatever its mode, so that it has no two parts that are the whole."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + 1e-3 * torch.rand_like(images)


def test_what_cannot_be_cut_says_so_and_is_the_same(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = classification.build_model

    def build(config: TrialConfig, classes: int) -> nn.Module:
        model: Any = original(config, classes)
        model.global_pool = nn.Sequential(OpenEnded(), model.global_pool)
        return model  # type: ignore[no-any-return]

    monkeypatch.setattr(classification, "build_model", build)
    monkeypatch.setattr(feature_training, "_cuts", {})
    ours, theirs = run("cached", **PLANS["head"]), run("uncached", **PLANS["head"], feature_views=0)
    assert cached(tmp_path) == []
    assert [report.metrics for report in ours[0]] == [report.metrics for report in theirs[0]]
    assert_same_state(ours[1] / "after4", theirs[1] / "after4", atol=0, rtol=0)
    (note,) = ours[0][0].notes
    assert note == (
        "features are not cached: test_efficientnet cannot be cut there: its two parts together do not give what the "
        "whole gives"
    )
    assert note in caplog.text
    assert not any(report.notes for report in (*ours[0][1:], *theirs[0]))


def test_features_larger_than_the_budget_are_done_without(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_training, "open_rows", lambda *_, **__: None)
    ours, theirs = run("cached", **PLANS["head"]), run("uncached", **PLANS["head"], feature_views=0)
    assert [report.metrics for report in ours[0]] == [report.metrics for report in theirs[0]]
    assert ours[0][0].notes[0].endswith("MiB of them do not fit into the node's cache")


@pytest.mark.parametrize(
    "settings",
    [
        {"augmentation": "light"},
        {"random_erasing": 0.1},
        {"mixing": "mixup"},
        {"mixing": "cutmix", "feature_views": 4},
        {"feature_views": 0},
        {"strategy": "full"},
    ],
)
def test_what_is_drawn_anew_is_not_cached(settings: dict[str, Any], run: Run, tmp_path: Path) -> None:
    reports, _ = run("trial", **{**PLANS["head"], "epochs": 1, **settings})
    assert cached(tmp_path) == []
    assert reports[0].notes == ()

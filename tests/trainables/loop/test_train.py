import gc
import json
import os
import random
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, log_loss
from torch import nn

import trainables.loop.learner as module
from search_spaces.errors import InvalidInput, TrialFailed
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.data import arrays as data_arrays
from trainables.data.arrays import load_arrays
from trainables.data.balance import batches, class_weights, epoch_order
from trainables.data.digits import write_digits
from trainables.loop.checkpoint import load_trained
from trainables.loop.learner import Learner
from trainables.loop.train import train
from trainables.model.build import build_model
from trainables.model.stages import stage_table
from trainables.result import EpochReport
from trainables.storage.folders import TrialFolders
from trainables.task import classification, inference
from trainables.task.inference import predict_outputs, to_input
from trainables.task_catalog import METRICS_VERSION

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.seconds(35)]

Config = Callable[..., TrialConfig]
Folders = Callable[[str], TrialFolders]

GRADUAL = {"strategy": "gradual", "last_stage_epoch": 1, "full_after": 1}
CHANCE = {"dropout": 0.3, "augmentation": "light"}
# Nothing learns at this rate: without BatchNorm, what is measured stays what it was.
STILL = {"architecture": "test_convnext", "lr": 1e-12, "optimizer": "sgd", "objective": {"metric": "val/accuracy"}}


def told(reports: Iterable[EpochReport]) -> list[dict[str, Any]]:
    """Everything but the time it took."""
    return [report.model_dump(exclude={"seconds"}) for report in reports]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_state(one: Path, other: Path) -> None:
    for name in ("model.safetensors", "optimizer.safetensors", "ema.safetensors"):
        assert (one / name).exists() == (other / name).exists()
        if (one / name).exists():
            torch.testing.assert_close(load_file(one / name), load_file(other / name), rtol=0, atol=0)


def test_equal_configurations_compute_the_same_whatever_ran_before(
    trial_config: Config, trial_folders: Folders
) -> None:
    config = trial_config(**GRADUAL, **CHANCE, epochs=3, balance="sampler")
    first = list(train(config, trial_folders("a")))
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    list(train(trial_config(architecture="test_vit", data={"image_size": 160}, seed=1, epochs=1), trial_folders("b")))
    second = []
    for report in train(config, trial_folders("c")):
        second.append(report)
        torch.rand(3)
        np.random.random(3)
        random.random()
    assert told(second) == told(first)
    for name in ("best", "last"):
        assert_same_state(trial_folders("a").checkpoints / name, trial_folders("c").checkpoints / name)


def test_chance_has_a_seed(trial_config: Config, trial_folders: Folders) -> None:
    one, other = (list(train(trial_config(epochs=1, seed=s), trial_folders(str(s)))) for s in (1, 2))
    assert told(one) != told(other)


@pytest.mark.parametrize(
    ("optimizer", "scheduler", "more"),
    [
        ("adamw", "cosine", {}),
        ("sgd", "step", {"balance": "sampler"}),
        ("adam", "one_cycle", {"balance": "loss", "backbone_lr_factor": 0.1}),
        ("adamw", "constant", {"normalization": "dataset", "augmentation": "strong"}),
        # At this rate the accuracy stands still, and the plateau scheduler answers after the last boundary.
        ("sgd", "plateau", {"lr": 1e-9, "epochs": 7, "architecture": "test_convnext"}),
        ("adamw", "plateau", {}),
        ("adamw", "cosine", {"head_init": "probe", "decay_to": "start", "weight_decay": 0.5}),
        (
            "adamw",
            "cosine",
            {
                "ema_decay": 0.9,
                "mixing": "cutmix",
                "random_erasing": 0.3,
                "clip_norm": 1.0,
                "micro_batch_size": 5,
                "thaw_warmup_epochs": 1,
                "stage_lr_decay": 0.8,
                "label_smoothing": 0.1,
            },
        ),
    ],
)
def test_an_interrupted_trial_equals_one_that_was_not(
    optimizer: str, scheduler: str, more: dict[str, Any], trial_config: Config, trial_folders: Folders
) -> None:
    settings = {"epochs": 4, "lr": 3e-3, "optimizer": optimizer, "scheduler": scheduler, **GRADUAL, **CHANCE, **more}
    config = trial_config(objective={"metric": "val/accuracy"}, **settings)
    whole = trial_folders("whole")
    reports = []
    for report in train(config, whole):
        reports.append(report)
        shutil.copytree(whole.checkpoints.parent, whole.checkpoints.parent.with_name(f"after{report.epoch}"))
    assert len(reports) == settings["epochs"]
    if settings["lr"] == 1e-9:
        rates = [report.metrics["lr/head"] for report in reports]
        assert rates == pytest.approx([1e-9] * 6 + [3e-10])

    for epoch in range(1, len(reports) + 1):
        folders = trial_folders(f"after{epoch}")
        torch.rand(epoch)
        resumed = list(train(config, folders, resume_from=folders.last))
        assert told(resumed) == told(reports[epoch:])
        assert_same_state(folders.last, whole.last)
        assert_same_state(folders.best, whole.best)
        assert told(list(CheckpointState.read(folders.last).reports)) == told(reports)
        assert pq.read_table(folders.predictions).equals(pq.read_table(whole.predictions))


def test_a_trial_closed_and_resumed_in_its_own_folder(trial_config: Config, trial_folders: Folders) -> None:
    config = trial_config(**GRADUAL, **CHANCE, epochs=3)
    whole = list(train(config, trial_folders("whole")))
    folders = trial_folders("parts")
    parts: list[EpochReport] = []
    while not parts or parts[-1].ended_by is None:
        # A trial that an older version began; with an image of every class its values are those of today.
        epochs = train(config, folders, folders.last) if parts else train(config, folders, metrics_version=1)
        parts.append(next(epochs))
        epochs.close()
        assert next(epochs, None) is None
    assert told(parts) == told(whole)
    assert_same_state(folders.last, trial_folders("whole").last)
    assert CheckpointState.read(folders.last).metrics_version == 1
    assert CheckpointState.read(trial_folders("whole").last).metrics_version == METRICS_VERSION


def test_checkpoints_predictions_and_reports_tell_of_the_same_epoch(
    trial_config: Config, trial_folders: Folders
) -> None:
    config, folders = trial_config(epochs=4, lr=0.003, scheduler="constant"), trial_folders("trial")
    arrays = load_arrays(config.data, folders.cache)
    best: EpochReport | None = None
    for report in train(config, folders):
        improved = best is None or report.metrics["val/macro_f1"] > best.metrics["val/macro_f1"]
        best = report if improved else best
        assert report.checkpoint == ("best" if improved else "last")
        assert CheckpointState.read(folders.last).reports[-1] == report
        model, state = load_trained(folders.best)
        assert state.reports[-1] == best
        assert (state.config, state.classes, state.fingerprint) == (config, arrays.classes, arrays.fingerprints.trained)
        assert best is not None
        table = pq.read_table(folders.predictions).to_pydict()
        assert accuracy_score(table["label"], table["predicted"]) == best.metrics["val/accuracy"]
        chances = np.column_stack([table[f"p({name})"] for name in arrays.classes])
        assert log_loss(table["label"], chances) == pytest.approx(best.metrics["val/loss"])
        logits = predict_outputs(model, arrays.splits["val"], state.mean, state.std, torch.device("cpu"))
        assert [arrays.classes[index] for index in logits.argmax(axis=1)] == table["predicted"]
    assert not (folders.best / "optimizer.safetensors").exists()
    assert report.ended_by == "budget"
    assert set(report.metrics) == {
        *("train/loss", "val/loss", "val/accuracy", "val/balanced_accuracy", "val/macro_f1", "lr/head", "lr/backbone")
    }


def test_of_equal_epochs_the_earliest_is_kept(trial_config: Config, trial_folders: Folders) -> None:
    folders = trial_folders("trial")
    reports = list(train(trial_config(**STILL, epochs=3), folders))
    assert [report.checkpoint for report in reports] == ["best", "last", "last"]
    assert len(CheckpointState.read(folders.best).reports) == 1


@pytest.mark.parametrize(
    ("plan", "last"),
    [
        ({"strategy": "head"}, 3),
        ({"strategy": "full"}, 3),
        ({"strategy": "progressive", "unfreeze_epoch": 4}, 7),
        ({"strategy": "gradual", "last_stage_epoch": 1, "full_after": 2}, 6),
    ],
)
def test_patience_counts_from_the_last_thaw(
    plan: dict[str, Any], last: int, trial_config: Config, trial_folders: Folders
) -> None:
    reports = list(train(trial_config(**STILL, **plan, epochs=9, patience=2), trial_folders("trial")))
    assert [report.ended_by for report in reports] == [None] * (last - 1) + ["patience"]
    folders = trial_folders("trial")
    assert list(train(trial_config(**STILL, **plan, epochs=9, patience=2), folders, folders.last)) == []


def test_the_budget_ends_a_trial_whose_patience_ends_with_it(trial_config: Config, trial_folders: Folders) -> None:
    reports = list(train(trial_config(**STILL, epochs=3, patience=2), trial_folders("trial")))
    assert reports[-1].ended_by == "budget"


def test_rates_follow_the_schedule_and_the_backbone_its_factor(trial_config: Config, trial_folders: Folders) -> None:
    config = trial_config(**GRADUAL, epochs=3, scheduler="cosine", lr=0.01, backbone_lr_factor=0.1)
    metrics = [report.metrics for report in train(config, trial_folders("trial"))]
    steps = -(-len(load_arrays(config.data, trial_folders("trial").cache).splits["train"]) // config.batch_size)
    for epoch, values in enumerate(metrics):
        progress = (epoch * steps + steps - 1) / (3 * steps)
        assert values["lr/head"] == pytest.approx(0.01 * 0.5 * (1 + np.cos(np.pi * progress)))
        assert values.get("lr/backbone") == (pytest.approx(values["lr/head"] / 10) if epoch else None)


@pytest.mark.parametrize("balance", ["none", "loss"])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_the_training_loss_is_one_sum_over_all_batches(
    balance: str, batch_size: int, trial_config: Config, trial_folders: Folders
) -> None:
    config = trial_config(**STILL, strategy="head", epochs=1, balance=balance, batch_size=batch_size, weight_decay=0)
    folders = trial_folders("trial")
    (report,) = train(config, folders)
    arrays = load_arrays(config.data, folders.cache)
    split, state = arrays.splits["train"], CheckpointState.read(folders.best)
    labels = arrays.dataset.labels("train")
    logits = predict_outputs(build_model(config, 3), split, state.mean, state.std, torch.device("cpu")).astype(float)
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(split)), labels]
    by_class = class_weights(labels, 3) if balance == "loss" else np.ones(3)
    expected = (losses * by_class[labels]).sum() / by_class[labels].sum()
    assert report.metrics["train/loss"] == pytest.approx(expected, rel=1e-5)
    assert np.ptp(np.bincount(labels)) > 10


@pytest.mark.parametrize("balance", ["none", "loss", "sampler"])
def test_a_step_descends_the_weighted_mean_of_its_batch(
    balance: Any, trial_config: Config, trial_folders: Folders
) -> None:
    settings = {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0, "scheduler": "constant", "batch_size": 20}
    config = trial_config(strategy="head", epochs=1, balance=balance, **settings)
    folders = trial_folders("trial")
    list(train(config, folders))
    arrays, state = load_arrays(config.data, folders.cache), CheckpointState.read(folders.last)
    split, labels = arrays.splits["train"], arrays.dataset.labels("train")
    weights_of_labels = class_weights(labels, 3)[labels] if balance == "sampler" else None

    model = build_model(config, 3).eval()
    head = model.get_classifier()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    by_class = torch.tensor(class_weights(labels, 3), dtype=torch.float32) if balance == "loss" else None
    loss = nn.CrossEntropyLoss(weight=by_class)
    for indices in batches(epoch_order(len(labels), config.seed, 0, weights_of_labels), 20):
        images = to_input(split.batch(indices, torch.device("cpu")), state.mean, state.std)
        optimizer.zero_grad()
        loss(model(images), torch.from_numpy(labels[indices])).backward()
        optimizer.step()
    trained = weights(folders.last)
    torch.testing.assert_close(trained["classifier.weight"], head.weight.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(trained["classifier.bias"], head.bias.detach(), rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_not_finite_fails_the_trial(trial_config: Config, trial_folders: Folders) -> None:
    config = trial_config(architecture="test_convnext", optimizer="sgd", lr=100, epochs=5, scheduler="constant")
    with pytest.raises(
        TrialFailed,
        match=r"^training loss must be finite, got (nan|inf) in epoch 1, batch \d of 6, with lr 1.00e\+02; lower the",
    ):
        list(train(config, trial_folders("trial")))
    assert not trial_folders("trial").checkpoints.exists()


def test_a_validation_loss_that_is_not_finite_fails_the_trial(
    trial_config: Config, trial_folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module.inference, "predict_outputs", lambda *_, **__: np.full((18, 3), np.inf, dtype=np.float32)
    )
    with pytest.raises(TrialFailed, match=r"^validation loss must be finite, got nan after epoch 1 with lr .*; lower"):
        list(train(trial_config(), trial_folders("trial")))


def test_only_its_own_last_checkpoint_goes_on(
    few_digits: Path, tmp_path: Path, trial_config: Config, trial_folders: Folders
) -> None:
    root = tmp_path / "digits"
    shutil.copytree(few_digits, root)
    config, folders = trial_config(data={"root": root}), trial_folders("trial")
    next(train(config, folders))

    def refused(config: TrialConfig, checkpoint: Path) -> str:
        with pytest.raises(InvalidInput) as caught:
            next(train(config, folders, resume_from=checkpoint))
        return str(caught.value)

    other = trial_config(data={"root": root}, lr=1e-4)
    assert refused(other, folders.last) == (
        f"checkpoint must be of the same configuration, got {folders.last}; start the trial anew"
    )
    assert "only `last` holds the optimizer's state: go on from there" in refused(config, folders.best)
    assert "checkpoint must be a folder written by Thaw" in refused(config, tmp_path / "nothing")
    fingerprint = CheckpointState.read(folders.last).fingerprint
    next(train(config, trial_folders("same"), fingerprint=fingerprint))
    Image.effect_noise((32, 32), 50).save(next((root / "val").rglob("*.png")))
    with pytest.raises(InvalidInput, match=r"images must be the same in every trial of a run, but they have changed"):
        next(train(config, trial_folders("other"), fingerprint=fingerprint))
    assert refused(config, folders.last) == (
        f"checkpoint must be of the same data set, got {folders.last}, whose images have changed since; "
        "restore them, or start a new run"
    )


@pytest.fixture
def accelerators(monkeypatch: pytest.MonkeyPatch) -> list[accelerate.Accelerator]:
    """The accelerators that trials make."""
    made: list[accelerate.Accelerator] = []

    class Spy(accelerate.Accelerator):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(module, "Accelerator", Spy)
    return made


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list["weakref.ref[nn.Module]"]:
    """The models that trials make."""
    made: list[weakref.ref[nn.Module]] = []

    def build(config: TrialConfig, num_classes: int) -> nn.Module:
        model = build_model(config, num_classes)
        made.append(weakref.ref(model))
        return model

    monkeypatch.setattr(classification, "build_model", build)
    return made


def test_one_model_and_one_optimizer_are_prepared_after_any_number_of_boundaries(
    accelerators: list[accelerate.Accelerator], trial_config: Config, trial_folders: Folders
) -> None:
    for _ in train(trial_config(**GRADUAL, epochs=3), trial_folders("trial")):
        (accelerator,) = accelerators
        # Private, because nothing public tells what the accelerator holds; FIELD_NOTES on `prepare_model`.
        assert (len(accelerator._models), len(accelerator._optimizers)) == (1, 1)


def test_one_layer_of_autocast_after_any_number_of_boundaries(
    models: list["weakref.ref[nn.Module]"], trial_config: Config, trial_folders: Folders
) -> None:
    for _ in train(trial_config(**GRADUAL, epochs=3, precision="bf16", feature_views=0), trial_folders("trial")):
        model = models[0]()
        assert model is not None
        assert model._original_forward.__func__ is type(model).forward


@pytest.mark.parametrize("boundaries", [1, 3])
def test_closing_releases_the_model(
    boundaries: int, models: list["weakref.ref[nn.Module]"], trial_config: Config, trial_folders: Folders
) -> None:
    epochs = train(trial_config(**GRADUAL, epochs=5), trial_folders("trial"))
    for _ in range(boundaries):
        next(epochs)
    assert models[0]() is not None
    gc.collect()
    gc.disable()
    try:
        epochs.close()
        assert models[0]() is None
    finally:
        gc.enable()


def test_the_head_alone_is_what_strategy_head_trains(trial_config: Config, trial_folders: Folders) -> None:
    config, folders = trial_config(strategy="head", epochs=1), trial_folders("trial")
    model = build_model(config, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    list(train(config, folders))
    after = weights(folders.last)
    assert {name for name in before if not torch.equal(before[name], after[name])} == set(stage_table(model).head)


OUT_OF_MEMORY = """
import json, resource, sys
from pathlib import Path
import trainables
import psutil, torch
from search_spaces.errors import OutOfMemory
from trainables.loop import learner
from trainables.config import TrialConfig
from trainables.storage.folders import TrialFolders
from trainables.loop.train import train

torch.set_num_threads(1)
room, root = int(sys.argv[2]) * 2**20, Path(sys.argv[3])
original = learner.Learner.train_epoch
def train_epoch(self, *args):
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return original(self, *args)
learner.Learner.train_epoch = train_epoch
config = TrialConfig.model_validate_json(sys.argv[1])
try:
    for report in train(config, TrialFolders(root / "checkpoints", root / "predictions.parquet", root / "cache")):
        print(json.dumps(report.notes))
except OutOfMemory as error:
    print(json.dumps(str(error)))
"""


def limited(config: TrialConfig, megabytes: int, root: Path) -> Any:
    """Output of a trial in a process that may take so much memory on top of what it has when it begins to train."""
    command = [sys.executable, "-c", OUT_OF_MEMORY, json.dumps(config.to_json()), str(megabytes), str(root)]
    # One thread, one arena: each more of them reserves a part of the room for itself. What is freed goes back at once.
    malloc = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **malloc}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_batch_that_does_not_fit_is_divided(cache_dir: Path, tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", keep=dict.fromkeys(range(10), 0.06))
    data = {"root": tmp_path / "digits", "image_size": 256, "resize_mode": "squash"}
    settings = {"weights": "none", "architecture": "resnet10t", "strategy": "full", "epochs": 1, "lr": 1e-3}
    config = TrialConfig.model_validate({"data": data, **settings, "batch_size": 64})
    # Room for half of what a batch needs, and it ends with a large tensor. Where it ends with a small thing, libraries
    # below torch end the process, or (at 900) oneDNN refuses every primitive that this thread asks for afterwards.
    notes = limited(config, 750, tmp_path)
    assert isinstance(notes, list), notes
    assert notes[0].startswith("out of memory: micro-batch halved to 32")


def test_validation_that_does_not_fit_is_divided_too(
    digits: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrialConfig.model_validate(
        {
            "data": {"root": digits, "image_size": 32, "resize_mode": "squash"},
            "weights": "none",
            "architecture": "test_efficientnet",
            "strategy": "head",
            "feature_views": 0,
            "epochs": 1,
            "lr": 1e-3,
        }
    )

    def validated(name: str) -> EpochReport:
        (report,) = train(config, TrialFolders(tmp_path / name, tmp_path / f"{name}.parquet", cache_dir))
        return report

    whole, original, sizes = validated("whole"), inference._outputs, []

    def small(*args: Any) -> Any:
        sizes.append(max(map(len, args[-1])))
        if sizes[-1] > 16:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return original(*args)

    monkeypatch.setattr(inference, "_outputs", small)
    divided = validated("divided")
    assert sizes == [79, 64, 32, 16]
    assert divided.metrics == pytest.approx(whole.metrics, rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"balance": "sampler", "augmentation": "light"},
        {"mixing": "cutmix", "micro_batch_size": 3, "normalization": "dataset"},
    ],
)
@pytest.mark.parametrize("where", ["decoded on demand", "on the device"])
def test_a_trial_is_the_same_wherever_its_images_are(
    where: str,
    settings: dict[str, Any],
    trial_config: Config,
    trial_folders: Folders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = trial_config(epochs=2, batch_size=10, **settings)
    cached = told(train(config, trial_folders("cached")))
    folders = trial_folders("other")
    if where == "decoded on demand":
        folders = replace(folders, cache=tmp_path / "cache", cache_budget=0)
    else:
        monkeypatch.setattr(data_arrays, "_free", lambda device: 10**9)
    assert told(train(config, folders)) == cached
    assert not list((tmp_path / "cache").glob("images/*.npy"))


def test_images_on_the_device_make_room_before_a_batch_is_divided(
    trial_config: Config, trial_folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folders = trial_config(epochs=2, batch_size=10), trial_folders("trial")
    expected = told(train(config, trial_folders("cached")))
    monkeypatch.setattr(data_arrays, "_free", lambda device: 10**9)
    step, resident = Learner._step, []

    def small(learner: Learner, *args: Any) -> Any:
        resident.append(learner.split.resident is not None)
        if resident[-1]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return step(learner, *args)

    monkeypatch.setattr(Learner, "_step", small)
    reports = list(train(config, folders))
    assert resident[:2] == [True, False]
    assert not any(resident[1:])
    assert told(reports) == expected
    assert [report.notes for report in reports] == [(), ()]
    assert CheckpointState.read(folders.last).micro_batch == 10


def test_a_trial_of_which_not_even_one_image_fits_says_so(digits: Path, cache_dir: Path, tmp_path: Path) -> None:
    data = {"root": digits, "image_size": 512, "resize_mode": "squash"}
    settings = {"weights": "none", "architecture": "resnet10t", "strategy": "full", "epochs": 1, "lr": 1e-3}
    config = TrialConfig.model_validate({"data": data, **settings, "batch_size": 2})
    assert limited(config, 24, tmp_path).startswith("a micro-batch must fit into memory, got 1 images that do not")

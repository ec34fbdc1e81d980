"""Rules for every task, so that the loop, the ranks, the ledger and the evaluation can rely on it."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from search_spaces.errors import ExportRefused, InvalidInput
from trainables import task_catalog
from trainables.config import TrialConfig
from trainables.data.preprocess import Preprocessing
from trainables.data.readers import Dataset, open_dataset
from trainables.data.sample_random import Draw
from trainables.model.stages import stage_table
from trainables.task.inference import VIEWS, write_predictions
from trainables.task.task import Task, load_task
from trainables.task_catalog import METRICS_VERSION, task_entry, task_names, unread_settings

CPU, DRAW = torch.device("cpu"), Draw(3, 1)
# Settings under which a task may weigh, mix or draw; a task is tried with those that it reads.
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "loss": {"balance": "loss", "focal_gamma": 2.0, "label_smoothing": 0.1},
    "sampler": {"balance": "sampler", "class_weighting": "effective"},
    "cutmix": {"mixing": "cutmix", "balance": "loss"},
    "mixup": {"mixing": "mixup", "mixing_alpha": 1.0},
}
TASKS = ("classification", "rotation")
CASES = [(task, name) for task in TASKS for name in SETTINGS if task == "classification" or name == "plain"]


@pytest.fixture(autouse=True)
def _installed(rotation_distribution: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(rotation_distribution))
    forget()
    yield
    forget()


def forget() -> None:
    """Look anew for what is installed."""
    for cached in (task_catalog._installed, task_catalog._installed_entry, load_task):
        cached.cache_clear()


@pytest.fixture(scope="session")
def dataset(turned_digits: Path) -> Dataset:
    return open_dataset(turned_digits)


@pytest.fixture
def config(turned_digits: Path) -> Callable[..., TrialConfig]:
    def make(task: str, settings: str = "plain") -> TrialConfig:
        data = {"root": turned_digits, "image_size": 32, "resize_mode": "squash"}
        trial = {"architecture": "test_efficientnet", "weights": "none", "strategy": "head", "epochs": 1, "lr": 1e-3}
        return TrialConfig.model_validate({"data": data, "task": task, **trial, **SETTINGS[settings]})

    return make


@pytest.fixture(params=TASKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def task(name: str) -> Task:
    return load_task(name)


@pytest.fixture
def outputs(name: str, task: Task, config: Callable[..., TrialConfig], dataset: Dataset) -> Callable[[str], Any]:
    """Random outputs for a split, in the shape that the task's model gives."""
    model = task.build(config(name), dataset.classes, bare=True).eval()
    with torch.no_grad():
        shape = model(torch.zeros(2, 3, 32, 32)).shape[1:]

    def make(split: str) -> Any:
        chance = np.random.default_rng(0)
        return chance.normal(size=(len(dataset.splits[split]), *shape)).astype(np.float32)

    return make


def test_it_is_in_the_catalog(name: str) -> None:
    entry = task_entry(name)
    assert name in task_names()
    assert all(metric.startswith("val/") for metric in entry.metrics)
    assert set(entry.settings) <= set(TrialConfig.model_fields)
    assert all(metric.low < metric.high for metric in entry.metrics.values())


def test_its_model_gives_one_dense_row_per_image_in_either_mode(
    name: str, task: Task, config: Callable[..., TrialConfig], dataset: Dataset
) -> None:
    trained, bare = (task.build(config(name), dataset.classes, bare=bare) for bare in (False, True))
    images = torch.rand(3, 3, 32, 32)
    shapes = {model.train(mode)(images).shape for model in (trained, bare) for mode in (True, False)}
    assert len(shapes) == 1
    assert shapes.pop()[0] == 3
    tensors = [{key: tensor.shape for key, tensor in model.state_dict().items()} for model in (trained, bare)]
    assert tensors[0] == tensors[1]
    assert stage_table(trained).head
    with torch.device("meta"):
        assert all(p.is_meta for p in task.build(config(name), dataset.classes, bare=True).parameters())


def test_it_has_a_target_for_every_sample(task: Task, dataset: Dataset) -> None:
    for split, samples in dataset.splits.items():
        assert len(task.targets(dataset, split)) == len(samples)


@pytest.mark.parametrize(("chosen", "settings"), CASES)
def test_samples_are_drawn_by_weights_or_each_once(
    chosen: str, settings: str, config: Callable[..., TrialConfig], dataset: Dataset
) -> None:
    weights = load_task(chosen).sample_weights(config(chosen, settings), dataset)
    if weights is not None:
        assert weights.shape == (len(dataset.splits["train"]),)
        assert (weights >= 0).all()
        assert weights.sum() > 0


@pytest.mark.parametrize(("chosen", "settings"), CASES)
def test_the_loss_of_a_batch_is_the_sum_over_its_parts(
    chosen: str, settings: str, config: Callable[..., TrialConfig], dataset: Dataset
) -> None:
    task, trial = load_task(chosen), config(chosen, settings)
    criterion = task.criterion(trial, dataset, CPU, None)
    batch = np.random.default_rng(1).permutation(len(dataset.splits["train"]))[:13]
    partners = batch[::-1]
    outputs = task.build(trial, dataset.classes).train()(torch.rand(13, 3, 32, 32))
    targets = criterion.targets(batch, partners, DRAW)
    whole, weight = criterion.loss(outputs, targets), criterion.weight(targets)
    assert (whole.shape, weight.shape) == ((), ())
    assert weight > 0
    losses, weights = [], []
    for part in np.array_split(np.arange(13), 4):
        own = criterion.targets(batch[part], partners[part], DRAW)
        losses.append(criterion.loss(outputs[torch.from_numpy(part)], own))
        weights.append(criterion.weight(own))
    torch.testing.assert_close(torch.stack(losses).sum(), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.stack(weights).sum(), weight, rtol=1e-5, atol=1e-5)
    # The weight knows no outputs, the loss does.
    assert not weight.requires_grad
    (gradient,) = torch.autograd.grad(whole, outputs)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("version", range(1, METRICS_VERSION + 1))
def test_metrics_are_finite_and_those_of_the_catalog(
    version: int, name: str, task: Task, outputs: Callable[[str], Any], dataset: Dataset
) -> None:
    measured = task.measure(outputs("val"), task.targets(dataset, "val"), version)
    metrics = task_entry(name).metrics
    assert {f"val/{metric}" for metric in measured} == set(metrics)
    for metric, value in measured.items():
        assert type(value) is float
        assert math.isfinite(value)
        assert metrics[f"val/{metric}"].low <= value <= metrics[f"val/{metric}"].high


def test_measuring_knows_no_order(task: Task, outputs: Callable[[str], Any], dataset: Dataset) -> None:
    targets, found = task.targets(dataset, "val"), outputs("val")
    order = np.random.default_rng(2).permutation(len(found))
    expected = task.measure(found, targets, METRICS_VERSION)
    assert task.measure(found[order], targets[order], METRICS_VERSION) == pytest.approx(expected, rel=1e-9)


def test_predictions_name_every_image_in_order(
    task: Task, outputs: Callable[[str], Any], dataset: Dataset, tmp_path: Path
) -> None:
    columns = task.predictions(outputs("val"), dataset, "val")
    write_predictions(tmp_path / "predictions.parquet", columns)
    table = pq.read_table(tmp_path / "predictions.parquet").to_pydict()
    assert list(table) == list(columns)
    assert next(iter(table)) == "path"
    assert table["path"] == [sample.path for sample in dataset.splits["val"]]


def test_its_probe_is_a_head_that_fits_the_features_it_was_made_of(
    name: str, task: Task, config: Callable[..., TrialConfig], dataset: Dataset
) -> None:
    """Features that hold the targets, and noise: the head measures better on them than the mean of the targets does."""
    if "head_init" in unread_settings(name):
        pytest.skip(f"{name} has no linear probe")
    targets = np.asarray(task.targets(dataset, "train"))
    chance = np.random.default_rng(0)
    told = np.eye(targets.max() + 1)[targets] if targets.dtype.kind == "i" else targets[:, None]
    features = np.hstack([told, 0.1 * chance.normal(size=(len(targets), 5))]).astype(np.float32)
    probe = task.probe(config(name), dataset)
    head = probe.fit(features)
    assert head.shape == (probe.outputs, features.shape[1] + 1)
    assert head.dtype == np.float32
    np.testing.assert_array_equal(head, task.probe(config(name), dataset).fit(features))
    assert json.loads(json.dumps(probe.identity)) == json.loads(json.dumps(task.probe(config(name), dataset).identity))
    found = features @ head[:, :-1].T + head[:, -1]
    flat = np.broadcast_to(found.mean(axis=0), found.shape).astype(np.float32)
    ours, theirs = (task.measure(each, targets, METRICS_VERSION)["loss"] for each in (found, flat))
    assert ours < 0.5 * theirs
    assert task.build(config(name), dataset.classes, bare=True).get_classifier().weight.shape[0] == probe.outputs


def test_a_vote_of_one_is_itself_and_of_equals_the_same(
    task: Task, outputs: Callable[[str], Any], dataset: Dataset
) -> None:
    found, targets = outputs("val"), task.targets(dataset, "val")
    assert task.vote([found]) is found
    alone = task.measure(found, targets, METRICS_VERSION)
    assert task.measure(task.vote([found, found]), targets, METRICS_VERSION) == pytest.approx(alone, rel=1e-5)
    assert "none" in task.tta
    assert set(task.tta) <= set(VIEWS)


def test_an_evaluation_holds_what_is_measured(task: Task, outputs: Callable[[str], Any], dataset: Dataset) -> None:
    evaluation = task.evaluate(outputs("test"), dataset, "test", METRICS_VERSION)
    assert evaluation.split == "test"
    assert evaluation.metrics == task.measure(outputs("test"), task.targets(dataset, "test"), METRICS_VERSION)
    assert json.loads(json.dumps(evaluation.to_json(), allow_nan=False))["metrics"] == evaluation.metrics
    assert evaluation.metrics.items() <= evaluation.scalars().items()


def test_an_export_is_verified_or_refused(
    name: str, task: Task, config: Callable[..., TrialConfig], dataset: Dataset, tmp_path: Path
) -> None:
    trial = config(name)
    images, targets = [(sample.path, dataset.read(sample)) for sample in dataset.splits["val"]], dataset.labels("val")
    preprocessing = Preprocessing(32, "squash", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = task.build(trial, dataset.classes, bare=True)
    try:
        bundle = task.export(
            model, dataset.classes, preprocessing, trial.to_json(), "0" * 64, images, tmp_path, targets
        )
    except ExportRefused as error:
        assert name in str(error)
        assert list(tmp_path.iterdir()) == []
    else:
        assert bundle.parity.holds
        assert bundle.model.is_file()


def test_a_setting_of_another_task_is_refused(name: str, config: Callable[..., TrialConfig]) -> None:
    values = config(name).model_dump()
    for setting in unread_settings(name):
        words = {
            "balance": "loss",
            "class_weighting": "effective",
            "mixing": "mixup",
            "head_init": "probe",
            "teacher": "x",
            "teacher_weight": 0.25,
        }
        other = words.get(setting, 0.5)
        with pytest.raises(InvalidInput, match=rf"^x: task {name} reads no `{setting}`, got {other}; remove it$"):
            TrialConfig.from_mapping({**values, setting: other}, "x")
        assert setting not in config(name).to_json()
    assert TrialConfig.model_validate(config(name).to_json()) == config(name)


def test_an_unknown_task_has_its_closest_names() -> None:
    with pytest.raises(InvalidInput, match=r"^task: must be one of classification, rotation, got 'rotations'; did you"):
        task_entry("rotations")


def test_an_entry_point_must_name_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "wrong-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[thaw.tasks]\nwrong = math:pi\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    with pytest.raises(InvalidInput, match=r"must name a TaskEntry, got math:pi, a float, for wrong; correct the"):
        task_entry("wrong")

"""Heads of folds: what separate trials, each with one fold as its val, compute; and the same after a kill."""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warmed_weights import write_warmed

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays, open_used
from trainables.data.node_cache import NodeCache
from trainables.loop import frozen_backbone
from trainables.loop.checkpoint import load_trained
from trainables.loop.folds.fold_heads import FoldHeads, open_fold_heads, open_trial_learner
from trainables.loop.train import train
from trainables.model.weights import weights_files
from trainables.storage.folders import TrialFolders

pytestmark = pytest.mark.usefixtures("one_thread")

FOLDS = 3
Configs = Callable[..., TrialConfig]
Folders = Callable[[str], TrialFolders]


@pytest.fixture(scope="module")
def warmed(few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    return write_warmed(folder / "warmed.safetensors", "test_efficientnet", few_digits, folder / "cache")


@pytest.fixture(scope="module")
def head(trial_config: Configs, warmed: Path) -> Configs:
    def make(**given: Any) -> TrialConfig:
        data = {"folds": FOLDS, **given.pop("data", {})}
        return trial_config(**{"strategy": "head", "weights": str(warmed), "epochs": 3, **given, "data": data})

    return make


def of_one_fold(config: TrialConfig, fold: int, manifest: Path) -> TrialConfig:
    """Return an ordinary trial whose val is a fold."""
    dataset = open_used(config.data, manifest.parent / "cache").of_fold(fold)
    with manifest.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        for split in ("train", "val"):
            rows.writerows([each.path, dataset.classes[each.label], split] for each in dataset.splits[split])
    data = config.data.model_copy(update={"folds": None, "manifest": manifest})
    return config.model_copy(update={"data": data})


def probabilities(path: Path) -> dict[str, list[float]]:
    table: pa.Table = pq.read_table(path)
    columns = [table.column(name).to_pylist() for name in table.column_names if name.startswith("p(")]
    return dict(zip(table.column("path").to_pylist(), map(list, zip(*columns, strict=True)), strict=True))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"balance": "sampler", "ema_decay": 0.9, "optimizer": "sgd", "clip_norm": 0.05, "scheduler": "one_cycle"},
        {"balance": "loss", "head_init": "probe", "dropout": 0.4, "micro_batch_size": 5, "feature_dtype": "fp16"},
    ],
)
def test_folds_are_trained_as_by_one_trial_each(
    given: dict[str, Any], head: Configs, trial_folders: Folders, tmp_path: Path
) -> None:
    config = head(**given)
    reports = list(train(config, trial_folders("folds"), keeps_newest=True))
    apart = [
        list(
            train(of_one_fold(config, fold, tmp_path / f"{fold}.csv"), trial_folders(f"fold{fold}"), keeps_newest=True)
        )
        for fold in range(FOLDS)
    ]
    for epoch, report in enumerate(reports):
        assert report.folds is not None
        for name in (name for name in report.metrics if name.startswith("val/")):
            # A feature depends, in its last bit, on the images that are computed beside it.
            assert report.folds[name] == pytest.approx([each[epoch].metrics[name] for each in apart], rel=1e-5)
            assert report.metrics[name] == fmean(report.folds[name])
        assert report.metrics["train/loss"] == pytest.approx(
            fmean(each[epoch].metrics["train/loss"] for each in apart), rel=1e-5
        )
    found = probabilities(trial_folders("folds").predictions)
    assert sorted(found) == sorted(each.path for each in open_used(config.data, tmp_path).splits["train"])
    for fold in range(FOLDS):
        for path, row in probabilities(trial_folders(f"fold{fold}").predictions).items():
            assert found.pop(path) == pytest.approx(row, abs=1e-6)
    assert not found


@pytest.mark.parametrize("given", [{}, {"ema_decay": 0.9, "augmentation": "light", "feature_views": 2}])
def test_a_trial_that_resumes_is_equal_to_one_that_was_not_interrupted(
    given: dict[str, Any], head: Configs, trial_folders: Folders
) -> None:
    config = head(**given, dropout=0.3)
    expected = list(train(config, trial_folders("whole")))
    first = train(config, trial_folders("killed"))
    begun = [next(first)]
    first.close()
    later = list(train(config, trial_folders("killed"), trial_folders("killed").last))
    for report, own in zip([*begun, *later], expected, strict=True):
        assert (report.metrics, report.folds, report.checkpoint) == (own.metrics, own.folds, own.checkpoint)
    whole, killed = trial_folders("whole"), trial_folders("killed")
    for name in ("model.safetensors", "optimizer.safetensors", "ema.safetensors"):
        if (whole.last / name).exists():
            assert (killed.last / name).read_bytes() == (whole.last / name).read_bytes()
    assert probabilities(killed.predictions) == probabilities(whole.predictions)


def test_no_checkpoint_of_folds_is_taken_for_a_model(head: Configs, trial_folders: Folders) -> None:
    folders = trial_folders("folds")
    list(train(head(epochs=1), folders))
    with pytest.raises(InvalidInput, match=f"one head for each of {FOLDS} folds.*thaw retrain"):
        load_trained(folders.best)
    with pytest.raises(InvalidInput, match=f"one head for each of {FOLDS} folds"):
        list(weights_files(head(weights=str(folders.best))))


def test_one_model_is_trained_on_all_images(head: Configs, trial_folders: Folders, few_digits: Path) -> None:
    config = head(data={"train_on": "train+val"})
    reports = list(train(config, trial_folders("all"), keeps_newest=True))
    assert reports[-1].folds is None
    model, state = load_trained(trial_folders("all").best)
    assert model.num_classes == 3
    assert state.fingerprint == load_arrays(head().data, trial_folders("all").cache).fingerprints.trained


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_backbone, "_known", {})


@pytest.mark.usefixtures("nothing_known")
def test_features_are_computed_once_for_all_folds(head: Configs, tmp_path: Path) -> None:
    config = head()
    arrays = load_arrays(config.data, tmp_path)
    learner = open_trial_learner(config, arrays, NodeCache(tmp_path))
    assert isinstance(learner, FoldHeads)
    assert len(learner.heads) == FOLDS
    assert arrays.splits["train"] is arrays.splits["val"]
    assert len(list((tmp_path / "features").glob("*.npy"))) == 1
    assert len(list((tmp_path / "images").glob("*.npy"))) == 1


@pytest.mark.usefixtures("nothing_known")
def test_folds_are_refused_where_features_cannot_be_cached(head: Configs, tmp_path: Path) -> None:
    config = head()
    arrays = load_arrays(config.data, tmp_path)
    with pytest.raises(InvalidInput, match=r"do not fit into the node's cache; remove data\.folds"):
        open_fold_heads(config, arrays, NodeCache(tmp_path, budget=1))

"""Layouts of a data set: the same photos give the same trial, however folders and manifests name them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.data.fingerprint import Fingerprints
from trainables.data_config import DataConfig
from trainables.loop.train import train
from trainables.result import EpochReport
from trainables.storage.folders import TrialFolders

Rows = list[tuple[str, str, str]]
"""Path, class and split of each photo."""


def _table(separator: str = ",", header: str = "path,label,split") -> Callable[[Rows], str]:
    return lambda rows: "\n".join([header, *map(",".join, rows)]).replace(",", separator) + "\n"


def _one_column_per_class(rows: Rows) -> str:
    marks = {"cat": "1,0", "dog": "0,1"}
    return "\n".join(["image,cat,dog,set", *(f"{path},{marks[label]},{split}" for path, label, split in rows)])


LAYOUTS: dict[str, Callable[[Rows], str]] = {
    "comma": _table(),
    "semicolon": _table(";"),
    "tab": _table("\t"),
    "bar": _table("|"),
    "header words": _table(header="Filename,Class Name,Subset"),
    "line for Excel": lambda rows: "sep=;\n" + _table(";")(rows),
    "end of lines": lambda rows: "\ufeff" + _table()(rows).replace("\n", "\r\n"),
    "order": lambda rows: _table()(rows[::-1]),
    "backslashes": lambda rows: _table()(rows).replace("/", "\\"),
    "split words": lambda rows: _table()(rows).replace(",train", ",Training").replace(",val\n", ",validation\n"),
    "one column per class": _one_column_per_class,
}
TRAINED = ("comma", "backslashes", "one column per class")


@pytest.mark.parametrize("val", ["val", "valid"])
def test_every_layout_gives_the_same_trial(val: str, tmp_path: Path) -> None:
    rows = _write_photos(tmp_path / "photos", val)
    for name, text in LAYOUTS.items():
        (tmp_path / f"{name}.csv").write_text(text(rows), newline="")
    manifests = {name: tmp_path / f"{name}.csv" for name in LAYOUTS}
    expected = _fingerprints(tmp_path, None)
    assert {name: _fingerprints(tmp_path, manifest) for name, manifest in manifests.items()} == dict.fromkeys(
        manifests, expected
    )
    reports = _train(tmp_path, None)
    assert {name: _train(tmp_path, manifests[name]) for name in TRAINED} == dict.fromkeys(TRAINED, reports)


def _write_photos(root: Path, val: str) -> Rows:
    """Write photos of noise in folders, 4 of each class in train and 2 in the folder `val`, and return their rows."""
    rows: Rows = []
    random = np.random.default_rng(0)
    for split, folder, count in (("train", "train", 4), ("val", val, 2)):
        for label, brightest in (("cat", 256), ("dog", 128)):
            (root / folder / label).mkdir(parents=True)
            for number in range(count):
                path = f"{folder}/{label}/{number}.png"
                Image.fromarray(random.integers(0, brightest, (32, 32, 3), np.uint8)).save(root / path)
                rows.append((path, label, split))
    return rows


def _data(folder: Path, manifest: Path | None) -> DataConfig:
    return DataConfig(root=folder / "photos", manifest=manifest, image_size=32)


def _fingerprints(folder: Path, manifest: Path | None) -> Fingerprints:
    return load_arrays(_data(folder, manifest), folder / "cache").fingerprints


def _train(folder: Path, manifest: Path | None) -> list[EpochReport]:
    """Return the reports of a trial whose cache is its own, without what the clock says."""
    own = folder / ("folders" if manifest is None else manifest.stem)
    config = TrialConfig(
        data=_data(folder, manifest),
        architecture="test_efficientnet",
        weights="none",
        strategy="head",
        epochs=1,
        lr=0.01,
        batch_size=4,
        seed=3,
    )
    folders = TrialFolders(own / "checkpoints", own / "predictions.parquet", own / "cache")
    return [report.model_copy(update={"seconds": 0.0}) for report in train(config, folders)]

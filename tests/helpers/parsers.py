"""Parsers of users' files, one door each: what `make fuzz` damages files for, and the corpus is read by."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analysis.ledger import RunRecord, read_record
from orchestrator.migrate.config import import_file
from orchestrator.spec.loading import load, load_trial
from search_spaces.documents import read_document
from search_spaces.user_files import IMAGE, read_user_file
from trainables.bundle.predict import Predictor
from trainables.data.decode import decode
from trainables.data.sources.manifest import manifest_entries
from trainables.model.weights import read_weights
from trainables.result import TrialResult


def _image(path: Path) -> Any:
    return decode(read_user_file(path, IMAGE), str(path))


def _manifest(path: Path) -> Any:
    return manifest_entries(path.parent, path, ("train", "val", "test"), ("train", "val", "test"))


def _old_config(path: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return import_file(path, Path(folder) / "new.yaml")


PARSERS: Mapping[str, Callable[[Path], Any]] = {
    "image": _image,
    "manifest": _manifest,
    "document": read_document,
    "sweep": load,
    "trial": load_trial,
    "old-config": _old_config,
    "trial-record": lambda path: read_record(path, TrialResult),
    "run-record": lambda path: read_record(path, RunRecord),
    "weights": read_weights,
    "model": Predictor.open,
}

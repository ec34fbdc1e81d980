"""Weights and teachers of a trial: a run keeps to the files with which it began."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.loop.source_files import check_sources, source_digests
from trainables.loop.train import train
from trainables.model.build import bare_model
from trainables.storage.folders import TrialFolders

Config = Callable[..., TrialConfig]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "w.safetensors", seed=0)


def write_weights(path: Path, seed: int) -> Path:
    save_file(bare_model("test_efficientnet", 10, seed=seed).state_dict(), path)
    return path


def test_a_trial_on_other_weights_than_its_run_is_refused(
    weights: Path, trial_config: Config, trial_folders: Callable[[str], TrialFolders]
) -> None:
    config = trial_config(architecture="test_efficientnet", weights=str(weights))
    known = source_digests([config, config])
    assert list(known) == [str(weights)]
    next(train(config, trial_folders("first"), sources=known))
    old = weights.stat()
    write_weights(weights, seed=1)
    os.utime(weights, ns=(old.st_atime_ns, old.st_mtime_ns + 1))
    assert weights.stat().st_size == old.st_size
    with pytest.raises(InvalidInput, match=r"w.safetensors: weights and teachers must be the same in every trial of a"):
        next(train(config, trial_folders("second"), sources=known))
    next(train(config, trial_folders("third")))


def test_weights_of_a_folder_and_a_teacher_are_known_by_their_files(tmp_path: Path, trial_config: Config) -> None:
    (tmp_path / "run" / "export").mkdir(parents=True)
    teacher = tmp_path / "run" / "export" / "model.onnx"
    teacher.write_bytes(b"one")
    (tmp_path / "weights").mkdir()
    file = write_weights(tmp_path / "weights" / "test_efficientnet.safetensors", seed=0)
    data = {"root": str(tmp_path), "weights_dir": str(tmp_path / "weights")}
    taught = {"weights": "pretrained", "teacher": str(tmp_path / "run")}
    config = trial_config(architecture="test_efficientnet", data=data, **taught)
    known = source_digests([config])
    assert list(known) == [str(teacher), str(file)]
    check_sources([config], known)
    check_sources([config], {})
    teacher.write_bytes(b"two")
    with pytest.raises(InvalidInput, match=r"run/export/model.onnx: weights and teachers must be the same"):
        check_sources([config], known)


def test_random_weights_have_no_file(trial_config: Config) -> None:
    assert source_digests([trial_config(weights="none")]) == {}


def test_a_missing_file_is_named(tmp_path: Path, trial_config: Config) -> None:
    with pytest.raises(InvalidInput, match=r"gone.onnx: weights and teachers must be readable files, got: No such"):
        source_digests([trial_config(teacher=str(tmp_path / "gone.onnx"))])

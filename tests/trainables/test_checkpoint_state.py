import json
from pathlib import Path

import pytest

from search_spaces.errors import InvalidInput
from trainables.checkpoint_state import (
    STATE,
    CheckpointState,
    begun_config,
    complete_folder,
    old_folder,
    partial_state,
)
from trainables.config import TrialConfig


@pytest.fixture
def state() -> CheckpointState:
    settings = {"architecture": "resnet18", "strategy": "head", "epochs": 1, "lr": 1e-3, "data": {"root": "photos"}}
    config = TrialConfig.model_validate(settings)
    return CheckpointState(config=config, classes=("a",), fingerprint="f", mean=(0, 0, 0), std=(1, 1, 1), reports=())


def write(folder: Path, state: CheckpointState) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STATE).write_text(state.model_dump_json(exclude_none=True))
    return folder


def test_a_state_comes_back(state: CheckpointState, tmp_path: Path) -> None:
    assert CheckpointState.read(write(tmp_path, state)) == state
    partial = state.model_copy(update={"frozen_digest": "0" * 64})
    assert CheckpointState.read(write(tmp_path, partial)) == partial


def test_a_state_of_an_older_version_is_that_of_a_whole_checkpoint(state: CheckpointState, tmp_path: Path) -> None:
    write(tmp_path, state)
    assert "frozen_digest" not in json.loads((tmp_path / STATE).read_text())
    assert CheckpointState.read(tmp_path).frozen_digest is None
    assert partial_state(tmp_path) is None


def test_a_partial_checkpoint_is_told_from_every_other_folder(state: CheckpointState, tmp_path: Path) -> None:
    assert partial_state(tmp_path) is None
    assert partial_state(tmp_path / "none") is None
    for other in ("", "{", "[]", "[" * 100_000, "3", '{"frozen_digest": null}', '{"epoch": 3}'):
        (tmp_path / STATE).write_text(other)
        assert partial_state(tmp_path) is None
    partial = state.model_copy(update={"frozen_digest": "0" * 64})
    assert partial_state(write(tmp_path, partial)) == partial
    (tmp_path / STATE).write_text('{"frozen_digest": "0"}')
    with pytest.raises(InvalidInput, match="checkpoint must be a folder written by Thaw"):
        partial_state(tmp_path)


def test_a_folder_that_is_being_replaced_is_read_from_the_old_one(state: CheckpointState, tmp_path: Path) -> None:
    folder = tmp_path / "best"
    assert complete_folder(folder) == folder
    write(old_folder(folder), state)
    assert complete_folder(folder) == old_folder(folder)
    assert CheckpointState.read(folder) == state
    write(folder, state)
    assert complete_folder(folder) == folder


def test_the_configuration_of_a_trial_that_has_begun(state: CheckpointState, tmp_path: Path) -> None:
    folder = tmp_path / "last"
    assert begun_config(folder) is None
    write(old_folder(folder), state)
    assert begun_config(folder) == state.config

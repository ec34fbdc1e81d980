"""State of a checkpoint besides its tensors. Light: it is read without torch."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from search_spaces.errors import InvalidInput
from search_spaces.permissions import check_readable, permission_errors
from search_spaces.user_files import RECORD, read_user_file
from trainables.config import TrialConfig
from trainables.result import EpochReport

STATE = "state.json"


class FrozenPart(BaseModel):
    """Reference of a checkpoint to the part of its model that it leaves out."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    frozen_digest: str | None = None
    """SHA-256 (hex digits) of the state that no training has changed: it is that of the weights which the trial started
    from. None for a checkpoint that holds the whole model."""


class CheckpointState(FrozenPart):
    """State of a checkpoint besides tensors: enough to continue, to export, and to identify the training."""

    config: TrialConfig
    classes: tuple[str, ...]
    fingerprint: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    reports: tuple[EpochReport, ...]
    micro_batch: int = 1
    metrics_version: int = 1
    scaler: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the state of a checkpoint folder; raises InvalidInput when it is missing or unreadable."""
        path = complete_folder(folder) / STATE
        check_readable(path)
        try:
            return cls.model_validate_json(read_user_file(path, RECORD), extra="ignore")
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"checkpoint must be a folder written by Thaw, got {folder} ({type(error).__name__}); "
                "train the trial again"
            ) from error


def check_one_model(folder: Path, state: CheckpointState) -> None:
    """Raise InvalidInput for a checkpoint that holds the heads of folds: none of them is the model of the trial."""
    folds = state.config.data.folds_trained
    if folds is not None:
        raise InvalidInput(
            f"checkpoint must hold one model, got {folder} with one head for each of {folds} folds; take that of "
            "`thaw retrain`, which trains one model on all images"
        )


def partial_state(folder: Path) -> CheckpointState | None:
    """Return the state of a checkpoint that leaves out the frozen part of its model; None for every other folder.

    Raises InvalidInput for such a checkpoint whose state is damaged, or may not be read.
    """
    path = folder / STATE
    check_readable(path)
    try:
        found = FrozenPart.model_validate_json(read_user_file(path, RECORD))
    except (OSError, ValueError):  # weights of another origin, which may have a file of this name beside them
        return None
    return None if found.frozen_digest is None else CheckpointState.read(folder)


def begun_config(folder: Path) -> TrialConfig | None:
    """Return the configuration of the trial whose checkpoint this folder holds; None where there is none yet."""
    return CheckpointState.read(folder).config if (complete_folder(folder) / STATE).is_file() else None


def old_folder(folder: Path) -> Path:
    """Return the folder that holds the former checkpoint while a new one takes its place."""
    return folder.with_name(f".{folder.name}.old")


def complete_folder(folder: Path) -> Path:
    """Return the folder itself or, when a write was interrupted between its two renames, the old one."""
    with permission_errors(folder):
        return folder if folder.exists() or not old_folder(folder).exists() else old_folder(folder)

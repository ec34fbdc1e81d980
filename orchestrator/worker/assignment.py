"""What the driver hands to a worker for one trial, and how the worker answers. Both travel as JSON text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Resources, Wandb
from trainables.result import TrialResult
from trainables.storage.folders import TrialFolders
from trainables.storage.place import Place

_ASSIGNMENT, ANSWER = "assignment", "trial_result"


class Assignment(BaseModel):
    """One trial, and the circumstances under which a worker runs it."""

    model_config = ConfigDict(frozen=True)

    trial: TrialResult
    """The trial as the ledger knows it: new, or interrupted after some epochs."""

    sweep: str
    """Name of the sweep."""

    run: Place
    """RUN, visible on every node."""

    cache: Path
    """Node-local cache."""

    cache_budget: int | None = None
    """What the cache may occupy, in bytes; None: what NodeCache chooses on its node."""

    resources: Resources
    """What the trial gets."""

    wandb: Wandb
    """Who is told."""

    target: float | None = None
    """The value of the objective at which the sweep is content, and the trial complete."""

    @property
    def run_folder(self) -> RunFolder:
        """The run, as this node sees it."""
        return RunFolder(self.run, self.cache)

    @property
    def folders(self) -> TrialFolders:
        """Where the trial reads and writes on this node."""
        run, trial_id = self.run_folder, self.trial.trial_id
        checkpoints, predictions = run.here(run.checkpoints(trial_id)), run.here(run.predictions(trial_id))
        return TrialFolders(checkpoints, predictions, self.cache, self.cache_budget)

    def to_tune(self) -> dict[str, Any]:
        """As a Tune configuration."""
        return {_ASSIGNMENT: self.model_dump_json(exclude_none=True)}

    @classmethod
    def from_tune(cls, config: Mapping[str, Any]) -> Self:
        """Read `to_tune`'s mapping back."""
        return cls.model_validate_json(config[_ASSIGNMENT])


def answer(trial: TrialResult, *, done: bool) -> dict[str, Any]:
    """A trial's state as a Tune result; `done` ends it."""
    return {ANSWER: trial.to_json(), "done": done}


def read_answer(result: Mapping[str, Any] | None) -> TrialResult | None:
    """The trial's state in a Tune result; None when the worker has not answered yet."""
    return None if not result or ANSWER not in result else TrialResult.from_json(result[ANSWER])

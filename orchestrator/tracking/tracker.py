"""Tracker: a service or a folder that shows trials while they run. W&B and TensorBoard are trackers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from orchestrator.tracking.summary import SweepSummary
from trainables.config import TrialConfig
from trainables.result import EpochReport
from trainables.status import Status
from trainables.storage.place import Place

JobType = Literal["trial", "confirm", "retrain"]


@dataclass(frozen=True)
class TrialFiles:
    """TrialFiles: what a trial leaves of its best epoch. Before the first epoch has ended there is nothing."""

    predictions: Place
    """File with the predictions on the validation split."""

    checkpoint: Place
    """Folder with the weights."""


@dataclass(frozen=True)
class TrialContext:
    """TrialContext: facts about a trial that are known before its first epoch."""

    sweep: str
    """Name of the sweep."""

    folder: Path
    """Folder of the run on this machine, for files of the tracker."""

    name: str
    """Id of the trial, unique within the sweep; `retrain` for the retrained winner."""

    job_type: JobType
    """Kind of the training."""

    config: TrialConfig
    """All settings that decide the result of the trial."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Point of the search space, a part of `config`."""

    logged: int = 0
    """Epochs that an earlier part of the run has logged; 0 for a new trial. They are not logged again."""

    best: EpochReport | None = None
    """Best of these epochs; None for a new trial."""

    files: TrialFiles | None = None
    """Files of the best epoch; None where the run keeps none."""

    uid: str | None = None
    """Random identifier of the run, which makes ids unique; None for a run of an older version."""


class TrackedTrial(Protocol):
    """TrackedTrial: one trial in one tracker, open from `start` to `finish`."""

    def log(self, report: EpochReport) -> None:
        """Record the metrics of an epoch, under its own number."""

    def finish(self, status: Status, summary: Mapping[str, float]) -> None:
        """Record the status and the final values, and release the trial. RUNNING: its driver ended first.

        `summary` has the metrics of the best epoch, and its number, as `best/<name>`; for a retrained winner
        `test/<name>`.
        """


class Tracker(Protocol):
    """Tracker: one configured tracker of a sweep. Any method may raise or hang: the dispatcher shields the sweep.

    All methods are called from one thread, which is not the main one. Several trials are open at once.
    """

    name: str
    """Name of the tracker in messages."""

    def start(self, context: TrialContext) -> TrackedTrial:
        """Open a trial, new or resumed."""

    def publish(self, summary: SweepSummary) -> None:
        """Show the summary of the sweep, in place of the summary that was published before."""


@runtime_checkable
class OnlineTracker(Tracker, Protocol):
    """OnlineTracker: a tracker of a service, which another tracker replaces after its first failure."""

    @property
    def local(self) -> Tracker:
        """Tracker that takes over, and keeps the records on this machine."""

    def explain(self, error: Exception, folder: Path) -> str:
        """Return one sentence for users about the failure; `folder` is that of the run on this machine."""

    def close(self) -> None:
        """Release the service; all its trials are finished. Raises an error when the service does not let go."""

    def kill(self) -> None:
        """End every process of the service at once, from any thread. A call in progress raises an error."""


def unique_id(sweep: str, uid: str | None, name: str) -> str:
    """Return the id of a trial, or of another run of a sweep, in a service that several sweeps share."""
    return f"{sweep if uid is None else uid}-{name}"

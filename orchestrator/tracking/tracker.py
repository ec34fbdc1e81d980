"""Tracker: a service or a folder that shows trials while they run. W&B, MLflow and TensorBoard are trackers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from analysis.run_folder import RunFolder
from orchestrator.tracking.summary import SweepSummary, TrialFiles
from orchestrator.tracking.sweep_identity import SweepIdentity
from trainables.config import TrialConfig
from trainables.result import EpochReport
from trainables.status import Status

# Seconds between two messages about a trial, where a client takes several epochs in one.
CLIENT_PAUSE_SECONDS = 1.0

JobType = Literal["trial", "confirm", "retrain", "export", "sweep"]


@dataclass(frozen=True)
class TrialContext:
    """TrialContext: facts about a trial that are known before its first epoch."""

    sweep: SweepIdentity
    """Sweep of the trial."""

    run: RunFolder
    """Run of the sweep; its local folder is for files of the tracker."""

    name: str
    """Id of the trial, unique within the sweep; `retrain` for the retrained winner."""

    job_type: JobType
    """Kind of the training."""

    config: TrialConfig
    """All settings that decide the result of the trial."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Point of the search space, a part of `config`."""

    earlier: tuple[EpochReport, ...] = ()
    """Epochs before `start`, which a tracker may have recorded in part; `start` records those that it lacks."""

    files: TrialFiles | None = None
    """Files of the best epoch; None where the run keeps none."""

    @property
    def folder(self) -> Path:
        """Folder of the run on this machine."""
        return self.run.local


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
        """Open a trial, new or resumed, and record its earlier epochs."""

    def publish(self, summary: SweepSummary) -> None:
        """Show the summary of the sweep, in place of the summary that was published before."""


@runtime_checkable
class ClosableTracker(Tracker, Protocol):
    """ClosableTracker: a tracker that holds a process."""

    def close(self) -> None:
        """Release the process; all trials are finished. Raises an error when it does not let go."""

    def kill(self) -> None:
        """End every process of the tracker at once, from any thread. A call in progress raises an error."""


@runtime_checkable
class OnlineTracker(ClosableTracker, Protocol):
    """OnlineTracker: a tracker of a service, which another tracker replaces after its first failure."""

    @property
    def local(self) -> Tracker:
        """Tracker that takes over, and keeps the records on this machine."""

    def explain(self, error: Exception, run: RunFolder) -> str:
        """Return one sentence for users about the failure, which has cost `run` its service."""

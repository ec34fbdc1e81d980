"""Results of a trial: one EpochReport per epoch, one TrialResult in all. Light to import: no torch, no pandas."""

import math
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from trainables.config import Objective, TrialConfig
from trainables.status import Status

SCHEMA_VERSION = 1

EndedBy = Literal["budget", "patience", "target"]


class _Record(BaseModel):
    """Base of what is read back from disk: immutable, and tolerant of fields that a newer version wrote."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class EpochReport(_Record):
    """The state of a trial after one epoch."""

    epoch: int = Field(ge=1)
    """Epochs completed, from 1."""

    metrics: dict[str, FiniteFloat]
    """train/loss, the metrics of the task (val/...), lr/head and, once something of it trains, lr/backbone (with
    lr/stage_1, ... where stages differ); all finite."""

    seconds: float = Field(ge=0)
    """Wall time of the epoch, validation included; the checkpoint, which holds this report, is written after it."""

    checkpoint: str
    """Name of the newest checkpoint folder that holds this epoch: `best` when the objective improved, else `last`."""

    total_parameters: int | None = None
    """Parameters of the model; None in a record of an older version."""

    trainable_parameters: int | None = None
    """Parameters that were trained in this epoch; None in a record of an older version."""

    cached: bool | None = None
    """True where the features of what is frozen came from the cache; None in a record of an older version."""

    ended_by: EndedBy | None = None
    """Reason why this was the last epoch; None while the trial continues."""

    folds: dict[str, tuple[FiniteFloat, ...]] | None = None
    """With `data.folds`, values of each metric val/... in the folds, whose mean is in `metrics`; None without folds."""

    notes: tuple[str, ...] = ()
    """Remarks on this epoch for the reader of the leaderboard, e.g. a batch that had to be divided."""


class Rung(_Record):
    """Rung of ASHA that a trial passes if it is trained to its end."""

    epoch: int = Field(ge=1)
    """Epoch, from 1, after which the trial passes it."""

    rung: int = Field(ge=1)
    """Number of the rung, in the units of `orchestrator/search/rungs.py`."""

    judged: bool
    """True where the trial is compared with others; one that has hardly thawed is exempt."""


class Failure(_Record):
    """Why a trial has no result."""

    message: str
    """One line for the leaderboard."""

    traceback: str = ""
    """The traceback of the process in which it happened."""

    log: str | None = None
    """Path of the trial's log file, relative to the run folder."""


class TrialResult(_Record):
    """Everything the ledger keeps of a trial: one JSON object."""

    schema_version: int = SCHEMA_VERSION
    """Version of this record's layout."""

    trial_id: str
    """Stable identifier within the run, e.g. 0007; the same after a resume."""

    config: TrialConfig
    """Configuration of the trial."""

    parameters: dict[str, Any]
    """The point of the search space, a part of `config`."""

    status: Status = Status.RUNNING
    """Status of the trial."""

    reports: tuple[EpochReport, ...] = ()
    """One report per epoch, in order."""

    flops: float | None = None
    """Floating-point operations of the model's forward pass on one image; None in a record of an older version."""

    rungs: tuple[Rung, ...] = ()
    """Rungs on its way, in order; none without ASHA and in a record of an older version."""

    failure: Failure | None = None
    """Set when status is FAILED, PRUNED_OOM or TIMED_OUT."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a record of this or an older version; unknown fields are ignored at every depth."""
        return cls.model_validate_json(text, extra="ignore")

    def to_json(self) -> str:
        """Return the record as indented JSON."""
        return self.model_dump_json(indent=1, exclude_none=True)

    def without_driver(self) -> Self:
        """Return the trial as it is while no process drives its run: INTERRUPTED where the record is RUNNING."""
        running = self.status is Status.RUNNING
        return self.model_copy(update={"status": Status.INTERRUPTED}) if running else self

    @property
    def best(self) -> EpochReport | None:
        """The epoch with the best objective (the earliest of equals), whose checkpoint is kept."""
        return best_report(self.reports, self.config.objective)

    @property
    def objective(self) -> float | None:
        """The objective at the best epoch."""
        return None if self.best is None else self.config.objective.value(self.best.metrics)

    @property
    def ended_by(self) -> EndedBy | None:
        """Why a completed trial ended."""
        return self.reports[-1].ended_by if self.reports else None

    @property
    def seconds(self) -> float:
        """Wall time of all epochs."""
        return sum(report.seconds for report in self.reports)


def best_report(reports: tuple[EpochReport, ...] | list[EpochReport], objective: Objective) -> EpochReport | None:
    """Return the report with the best objective, the earliest of equals; None without reports."""
    best, most = None, math.nan
    for report in reports:
        value = objective.value(report.metrics)
        if best is None or objective.better(value, most):
            best, most = report, value
    return best

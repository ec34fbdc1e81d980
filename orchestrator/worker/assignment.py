"""Assignment of one trial to a worker, and the worker's answer. Both travel as JSON text."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from analysis.run_folder import FIRST_GENERATION, Generation, RunFolder
from orchestrator.spec.sections import Resources
from trainables.result import Failure, TrialResult
from trainables.storage.bucket import BucketPath
from trainables.storage.folders import TrialFolders
from trainables.storage.place import Place
from trainables.task_catalog import METRICS_VERSION

_ASSIGNMENT, ANSWER = "assignment", "trial_result"


class Assignment(BaseModel):
    """Assignment: one trial, and the conditions under which a worker runs it."""

    model_config = ConfigDict(frozen=True)

    trial: TrialResult
    """Trial as in the ledger: new, or interrupted after some epochs."""

    run: Place
    """RUN, visible on every node."""

    generations: tuple[Generation, ...] = FIRST_GENERATION
    """Generations of the run; the worker writes files of the last one."""

    cache: Path
    """Node-local cache."""

    cache_budget: int | None = None
    """Size limit of the cache in bytes; None: NodeCache chooses one on its node."""

    resources: Resources
    """Resources of the trial."""

    target: float | None = None
    """Target of the sweep: the value of the objective at which the trial is complete."""

    metrics_version: int = METRICS_VERSION
    """Version of the definitions of the metrics with which the run began."""

    fingerprint: str | None = None
    """Fingerprint of the images with which the run began; None: any will do."""

    sources: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the files of weights and of the teachers with which the run began, by path."""

    @property
    def run_folder(self) -> RunFolder:
        """Run, as this node sees it."""
        return RunFolder(self.run, self.cache, generations=self.generations)

    @property
    def log(self) -> Place:
        """Log that the worker writes."""
        return self.run_folder.log(self.trial.trial_id)

    @property
    def folders(self) -> TrialFolders:
        """Folders in which the trial reads and writes on this node."""
        run, trial_id = self.run_folder, self.trial.trial_id
        checkpoints, predictions = run.here(run.checkpoints(trial_id)), run.here(run.predictions(trial_id))
        return TrialFolders(checkpoints, predictions, self.cache, self.cache_budget)

    @property
    def keeps_newest(self) -> bool:
        """True where the weights of the newest epoch count as the best ones, see `train`."""
        return False

    def of_rank(self, rank: int) -> "RankAssignment":
        """Return the assignment of a rank but the first."""
        return RankAssignment(**dict(self), rank=rank)

    def to_tune(self) -> dict[str, Any]:
        """Return the assignment as a Tune configuration."""
        return {_ASSIGNMENT: self.model_dump_json(exclude_none=True)}

    @classmethod
    def from_tune(cls, config: Mapping[str, Any]) -> Self:
        """Read the mapping of `to_tune`."""
        return cls.model_validate_json(config[_ASSIGNMENT])


class RankAssignment(Assignment):
    """RankAssignment: assignment of one rank of several, which may share its node with others."""

    rank: int = 0
    """Number of the rank."""

    def of_rank(self, rank: int) -> Self:
        """Return the assignment of another rank."""
        return self.model_copy(update={"rank": rank})

    @property
    def run_folder(self) -> RunFolder:
        """Run, as this rank sees it: of a run in a bucket each has copies of its own."""
        copies = self.cache / "ranks" / str(self.rank) if self.rank else self.cache
        return RunFolder(self.run, copies, generations=self.generations)

    @property
    def log(self) -> Place:
        """Log that the rank writes: one for all ranks in a folder; in a bucket, where none can append, its own."""
        trial_id = self.trial.trial_id
        has_own = self.rank and isinstance(self.run, BucketPath)
        return self.run_folder.log(f"{trial_id}.rank-{self.rank}" if has_own else trial_id)


class EndKind(StrEnum):
    """EndKind: ways in which a trial ends by itself."""

    COMPLETED = "completed"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    STORAGE_FAILED = "storage_failed"


class TrialEnd(BaseModel):
    """TrialEnd: end of a trial, as its worker reports it. The driver sets the status."""

    model_config = ConfigDict(frozen=True)

    kind: EndKind
    """Way in which the trial ended."""

    failure: Failure | None = None
    """Reason, unless it completed."""


class Answer(BaseModel):
    """Answer: state of a trial after a step of its worker."""

    model_config = ConfigDict(frozen=True)

    trial: TrialResult
    """Trial with the epochs that it has."""

    end: TrialEnd | None = None
    """End of the trial; None while it continues."""

    def to_tune(self) -> dict[str, Any]:
        """Return it as a result for Tune."""
        return {ANSWER: self.model_dump_json(exclude_none=True), "done": self.end is not None}


def read_answer(result: Mapping[str, Any] | None) -> Answer | None:
    """Read the answer in a Tune result; None when the worker has not answered yet."""
    return None if not result or ANSWER not in result else Answer.model_validate_json(result[ANSWER])

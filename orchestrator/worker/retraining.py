"""Retraining: assignment to train a run's winner again, and its begin and measurement on a node.

It writes to a folder beside RUN/winner, which the driver puts in the place of RUN/winner at the end. For a run in a
bucket, rank 0 publishes the files of each epoch, as the actor of a trial does in a sweep.
"""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from analysis.run_store import RunStore
from orchestrator.worker import run_trial
from orchestrator.worker.assignment import RankAssignment
from orchestrator.worker.run_trial import StartedTrial
from trainables.result import EpochReport
from trainables.storage.bucket import BucketPath
from trainables.storage.folders import TrialFolders
from trainables.storage.place import Place
from trainables.task.evaluation import Evaluation

log = logging.getLogger("orchestrator")


class Retraining(RankAssignment):
    """Retraining: the winner's configuration, and the conditions under which it is trained again."""

    last_epoch: int | None = None
    """Epoch after which it ends, with the weights of that epoch; None: as the configuration says."""

    @property
    def keeps_newest(self) -> bool:
        """True where val chooses no epoch."""
        return self.last_epoch is not None

    @property
    def place(self) -> Place:
        """Folder that will take the place of RUN/winner."""
        winner = self.run_folder.winner
        return winner.with_name(f".{winner.name}.new")

    @property
    def files(self) -> tuple[Place, Place, Place]:
        """Files that a training leaves, in the order in which they are published: a resumed one finds the last."""
        checkpoints = self.place / "checkpoints"
        return self.place / "predictions.parquet", checkpoints / "best", checkpoints / "last"

    @property
    def here(self) -> Path:
        """Folder `place` as this rank sees it."""
        return self.run_folder.here(self.place)

    @property
    def folders(self) -> TrialFolders:
        """Folders in which the retraining reads and writes on this node."""
        return TrialFolders(self.here / "checkpoints", self.here / "predictions.parquet", self.cache, self.cache_budget)


def begin_retraining(assignment: Retraining) -> StartedTrial:
    """Begin or continue the retraining on this rank, as `run_trial.begin`."""
    if isinstance(assignment.run, BucketPath):
        _fetch_last(assignment)
    done, epochs = run_trial.begin(assignment)
    if done:
        log.info("resumed after epoch %d", len(done))
    return done, _published(assignment, epochs)


def measure_retraining(assignment: Retraining, split: str) -> Evaluation:
    """Measure the best checkpoint of the retraining on a split, on this node."""
    from trainables.loop.evaluate_checkpoints import evaluate_checkpoint
    from trainables.processor import use_processor

    use_processor(assignment.resources.threads)
    _, best, _ = assignment.files
    with RunStore(assignment.run_folder).reading(best) as checkpoint:
        return evaluate_checkpoint(checkpoint, split, assignment.cache, budget=assignment.cache_budget)


def discard_retraining(assignment: Retraining) -> None:
    """Delete the files of this retraining, or of one before it that was stopped, beside RUN/winner."""
    shutil.rmtree(assignment.here, ignore_errors=True)
    for place in assignment.files:
        if isinstance(place, BucketPath):
            RunStore(assignment.run_folder).remove(place)


def _fetch_last(own: Retraining) -> None:
    """Copy the last checkpoint from the bucket, where there is one, to this rank's folder."""
    shutil.rmtree(own.here, ignore_errors=True)
    *_, last = own.files
    with RunStore(own.run_folder).reading(last) as copy:
        if copy.exists():
            own.folders.checkpoints.mkdir(parents=True)
            shutil.move(copy, own.folders.last)


def _published(own: Retraining, epochs: Iterator[EpochReport]) -> Iterator[EpochReport]:
    """Yield each epoch once its files are in the run."""
    store, run = RunStore(own.run_folder), own.run_folder
    try:
        for report in epochs:
            if own.rank == 0:
                run_trial.log_epoch(report)
                for place in own.files if report.checkpoint == "best" else own.files[-1:]:
                    store.publish(place)
                store.publish(run.log(own.trial.trial_id))
            yield report
    finally:
        if hasattr(epochs, "close"):
            epochs.close()
        if isinstance(own.run, BucketPath):
            shutil.rmtree(own.here, ignore_errors=True)

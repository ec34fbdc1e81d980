"""Training of the winner: in this process, or on Ray with the resources of the trials of its run."""

import logging
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Protocol

from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from orchestrator.cluster.capacity import fitting, trial_bundles
from orchestrator.cluster.machine import this_machine
from orchestrator.cluster.ray_watch import RayWatch
from orchestrator.cluster.runtime import is_joined
from orchestrator.cluster.session import open_session
from orchestrator.driver.node_requirements import make_node_question
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.worker.lone_training import call_alone, train_alone
from orchestrator.worker.retraining import Retraining, begin_retraining, measure_retraining
from search_spaces.shell import thaw_command
from trainables.data.readers import Dataset
from trainables.loop.evaluate_checkpoints import evaluate_checkpoint
from trainables.loop.train import train
from trainables.result import EpochReport
from trainables.task.evaluation import Evaluation

log = logging.getLogger(__name__)


class WinnerTraining(Protocol):
    """WinnerTraining: trains the winner in some place; its files are then in the folders of the assignment."""

    def epochs(self, assignment: Retraining) -> Iterator[EpochReport]:
        """Train to the end, and yield each epoch."""
        ...

    def measure(self, assignment: Retraining, split: str) -> Evaluation:
        """Measure the checkpoint of the best epoch on a split."""
        ...


class TrainingHere:
    """TrainingHere: training in this process, on all its cores or its first GPU."""

    def epochs(self, assignment: Retraining) -> Iterator[EpochReport]:
        """Train in this process."""
        version, keeps_newest = assignment.metrics_version, assignment.keeps_newest
        epochs = train(assignment.trial.config, assignment.folders, metrics_version=version, keeps_newest=keeps_newest)
        return _until(epochs, assignment.last_epoch)

    def measure(self, assignment: Retraining, split: str) -> Evaluation:
        """Measure in this process."""
        return evaluate_checkpoint(assignment.folders.best, split, assignment.cache, budget=assignment.cache_budget)


class TrainingOnRay:
    """TrainingOnRay: training on the connected Ray, in as many processes as a trial of the run had."""

    def epochs(self, assignment: Retraining) -> Iterator[EpochReport]:
        """Train there, and fetch the files to this node."""
        yield from _until(train_alone(assignment, begin_retraining), assignment.last_epoch)
        store = RunStore(assignment.run_folder)
        for place in assignment.files:
            store.fetch(place)

    def measure(self, assignment: Retraining, split: str) -> Evaluation:
        """Measure on one of the nodes."""
        return call_alone(assignment.resources, measure_retraining, assignment, split)


@contextmanager
def open_training(spec: SweepSpec, run: RunFolder, dataset: Dataset, address: str | None) -> Iterator[WinnerTraining]:
    """Yield the training of the winner of `run`: on the cluster at `address` or $RAY_ADDRESS, else on this machine.

    On this machine several workers get a Ray of their own. Where they do not fit, one process trains, after a warning.
    Raises InvalidInput as `open_session` does.
    """
    if not is_joined(address) and not _has_several_here(spec.resources):
        yield TrainingHere()
        return
    remedy = f"begin again with `{thaw_command('retrain', run.root)}`"
    with (
        open_session(run.local, spec.resources, lambda: make_node_question(spec, run.root, dataset), address),
        nullcontext() if is_joined(address) else RayWatch(lambda _error: None, remedy),
    ):
        yield TrainingOnRay()


def _has_several_here(resources: Resources) -> bool:
    """Return whether a trial has several workers, and they fit on this machine."""
    if resources.workers == 1:
        return False
    machine = this_machine()
    if fitting(trial_bundles(resources), [{"CPU": machine.cores, "GPU": machine.gpus}]):
        return True
    log.warning(
        "the trials of this run had %d workers, which do not fit on this machine: one process trains the winner, whose "
        "BatchNorm sees whole batches; --address trains it on a cluster as its trials were trained",
        resources.workers,
    )
    return False


def _until(epochs: Generator[EpochReport, None, None], last: int | None) -> Iterator[EpochReport]:
    """Yield the epochs up to the `last` one; None: all."""
    with closing(epochs):
        for report in epochs:
            yield report
            if report.epoch == last:
                return

"""TrialActor: one trial as Ray Tune runs it: `step()` is `next()` of its iterator, once or more, in a warm process.

The trial itself runs in a process that is forked from one with the packages that take seconds to import (torch, timm).
It is forked at the worker's first step, not at its start. Tune dismisses a worker that is still starting when another
falls idle. Where trials are shorter than imports, Tune would dismiss one after another and never have more than one.
"""

import logging
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray import tune

from analysis.run_store import RunStore
from orchestrator.spec.budget import reached
from orchestrator.worker import run_trial
from orchestrator.worker.assignment import Answer, Assignment, EndKind, TrialEnd
from orchestrator.worker.forked_rank import fork_rank
from orchestrator.worker.forked_trial import ForkedTrial
from orchestrator.worker.log_file import LogFile
from orchestrator.worker.rank import Begin
from orchestrator.worker.raylet_death import die_with_raylet
from orchestrator.worker.worker_group import TrialEnded, WorkerGroup, WorkerLost
from search_spaces.errors import StorageFailed
from trainables.result import EpochReport, Failure, TrialResult

log = logging.getLogger("orchestrator")

STEP_SECONDS = 0.25
"""Seconds after which a step begins no further epoch. Worker and driver spend 20 ms per step, which is more than an
epoch of a head. An epoch is in the ledger that much later."""


class TrialActor(tune.Trainable):
    """TrialActor: runs one assignment after another in the same processes, which keep their device context."""

    group: WorkerGroup | None = None
    process: ForkedTrial | None = None
    trainer: Begin | None = None

    def setup(self, config: dict[str, Any]) -> None:
        """Take up an assignment. The trial's own checkpoint has the epochs trained before."""
        die_with_raylet()
        self.assignment = Assignment.from_tune(config)
        self.run = self.assignment.run_folder
        self.store = RunStore(self.run)
        self.trial: TrialResult = self.assignment.trial
        self._handler: LogFile | None = None
        self.epochs: Iterator[EpochReport] | None = None

    def step(self) -> dict[str, Any]:
        """Run an epoch, or several short ones. The trial's own errors end it; Ray handles only a process's death."""
        try:
            end = self._attempt()
            self.store.publish(self.run.log(self.trial.trial_id))
        except StorageFailed as error:
            log.error("%s", error)
            end = TrialEnd(kind=EndKind.STORAGE_FAILED, failure=Failure(message=str(error)))
        return Answer(trial=self.trial, end=end).to_tune()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Finish the old assignment and take up a new one in the same processes."""
        self._finish()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Release the resources of the trial, and stop its processes."""
        self._finish()
        if self.group is not None:
            self.group.dismiss()
        if self.process is not None:
            self.process.dismiss()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing: the trial writes its own checkpoints, and its first step finds them."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing, for the same reason."""

    def _attempt(self) -> TrialEnd | None:
        """Advance the trial; return its end, None while it continues."""
        try:
            return self._advance()
        except WorkerLost as error:
            log.warning("%s; Ray tries again, from the last checkpoint", error)
            raise
        except StorageFailed:
            raise
        except TrialEnded as error:
            if self.process is None:  # it has logged its error itself
                log.error("%s", error)
            return self._failed(error.end)
        except Exception as error:
            end = run_trial.end_of(error)
            log.error("%s", end.failure.traceback if end.failure else error)
            return self._failed(end)

    def _advance(self) -> TrialEnd | None:
        if self.epochs is None:
            known = len(self.trial.reports)
            self.epochs = self._begin()
            if len(self.trial.reports) > known:
                # The driver has not seen these epochs yet: it judges them before more is trained.
                return self._end_at_last_epoch()
        begun = time.monotonic()
        end = self._train_epoch(self.epochs)
        while end is None and not self._is_at_rung and time.monotonic() < begun + STEP_SECONDS:
            end = self._train_epoch(self.epochs)
        return end

    def _train_epoch(self, epochs: Iterator[EpochReport]) -> TrialEnd | None:
        report = next(epochs, None)
        if report is not None:
            self._publish(report)
            self.trial = self.trial.model_copy(update={"reports": (*self.trial.reports, report)})
            run_trial.log_epoch(report)
        return self._end_at_last_epoch()

    @property
    def _is_at_rung(self) -> bool:
        """True where the driver judges the trial after its last epoch."""
        return any(rung.epoch == len(self.trial.reports) for rung in self.trial.rungs)

    def _end_at_last_epoch(self) -> TrialEnd | None:
        """Complete the trial where its last epoch was its end, or the sweep's target is reached."""
        objective = self.trial.objective
        if objective is not None and reached(self.assignment.target, self.trial.config.objective, objective):
            *earlier, last = self.trial.reports
            reports = (*earlier, last.model_copy(update={"ended_by": "target"}))
            self.trial = self.trial.model_copy(update={"reports": reports})
        return None if self.trial.ended_by is None else TrialEnd(kind=EndKind.COMPLETED)

    def _finish(self) -> None:
        """Release the resources of the trial.

        Tune dismisses a worker that starts late unused; by then another may run the trial on this node.
        """
        if self._handler is None:
            return
        if isinstance(self.epochs, Iterator) and hasattr(self.epochs, "close"):
            self.epochs.close()
        self.epochs = None
        run_trial.stop_trial_log(self._handler)
        self._handler = None
        self.store.release(self.run.checkpoints(self.trial.trial_id))

    def _begin(self) -> Iterator[EpochReport]:
        """Return the trial's iterator, at its last checkpoint where there is one.

        Not before the first step: a worker that starts late may be set up for a trial that another worker has run
        meanwhile.
        """
        path = self.store.fetch(self.run.log(self.trial.trial_id))
        self._handler = run_trial.start_trial_log(path)
        begin = self._trainer()
        if self.process is not None:
            self._handler.attribute_to(self.process.pid)
            self.process.open_log(path)
        log.info("trial %s: %s", self.trial.trial_id, self.trial.parameters)
        self.store.release(self.run.checkpoints(self.trial.trial_id))  # left by a process that was killed
        self.store.inherit(self.trial.trial_id)
        self.store.fetch(self.run.last(self.trial.trial_id))
        reports, epochs = begin(self.assignment)
        if reports:
            log.info("resumed after epoch %d", len(reports))
        elif self.trial.reports:
            log.warning("its %d epochs have left no checkpoint: begun anew", len(self.trial.reports))
        self.trial = self.trial.model_copy(update={"reports": reports})
        return epochs

    def _trainer(self) -> Begin:
        """Return the function that begins trials: in a worker group, in a forked process, or here without either."""
        if self.trainer is None:
            placement = ray.util.get_current_placement_group()
            if placement is not None and self.assignment.resources.needs_worker_group:
                self.group = WorkerGroup(placement)
                self.trainer = self.group.begin
            elif (rank := fork_rank(run_trial.begin)) is not None:
                self.process = ForkedTrial(rank)
                self.trainer = self.process.begin
            else:
                self.trainer = run_trial.begin
        return self.trainer

    def _publish(self, report: EpochReport) -> None:
        """Publish the files of an epoch in the order in which they were written: a resumed trial finds `last`."""
        trial_id = self.trial.trial_id
        if report.checkpoint == "best":
            self.store.publish(self.run.predictions(trial_id))
            self.store.publish(self.run.best(trial_id))
        self.store.publish(self.run.last(trial_id))

    def _failed(self, end: TrialEnd) -> TrialEnd:
        """Name the trial's log in its end."""
        path = str(self.run.here(self.run.log(self.trial.trial_id)).relative_to(self.run.local))
        failure = None if end.failure is None else end.failure.model_copy(update={"log": path})
        return end.model_copy(update={"failure": failure})

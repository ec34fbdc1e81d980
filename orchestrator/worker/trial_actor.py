"""One trial as Ray Tune sees it: `step()` is `next()` of the trial's iterator, in a process that stays warm.

What takes seconds to import (torch, timm, W&B) is imported by a worker's first step, not to start it: Tune dismisses a
worker that is still starting when another falls idle, and where trials are shorter than imports it would dismiss one
after another and never have more than one.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from analysis.run_store import RunStore
from orchestrator.spec.budget import reached
from orchestrator.worker import run_trial
from orchestrator.worker.assignment import Assignment, answer
from orchestrator.worker.log_file import LogFile
from orchestrator.worker.worker_group import TrialEnded, WorkerGroup, WorkerLost
from search_spaces.errors import StorageFailed
from trainables.result import EpochReport, Failure, Status, TrialResult

if TYPE_CHECKING:
    from orchestrator.tracking.wandb_tracker import WandbRun

log = logging.getLogger("orchestrator")


class TrialActor(tune.Trainable):
    """Runs one assignment after another; imports and device context are paid once."""

    gang: WorkerGroup | None = None

    def setup(self, config: dict[str, Any]) -> None:
        """Take up an assignment. Whatever has been trained of it before is found in its own checkpoint."""
        self.assignment = Assignment.from_tune(config)
        self.run = self.assignment.run_folder
        self.store = RunStore(self.run)
        self.trial: TrialResult = self.assignment.trial
        self._handler: LogFile | None = None
        self.wandb: WandbRun | None = None
        self.epochs: Iterator[EpochReport] | None = None

    def step(self) -> dict[str, Any]:
        """One epoch. The trial's own errors end it, with their status; only the death of a process is Ray's.

        Where its storage fails it is INTERRUPTED, and has a failure: the searcher ends the sweep.
        """
        try:
            self._attempt()
            self.store.publish(self.run.log(self.trial.trial_id))
        except StorageFailed as error:
            log.error("%s", error)
            update = {"status": Status.INTERRUPTED, "failure": Failure(message=str(error))}
            self.trial = self.trial.model_copy(update=update)
        return answer(self.trial, done=self.trial.status is not Status.RUNNING)

    def _attempt(self) -> None:
        try:
            self._advance()
        except WorkerLost as error:
            log.warning("%s; Ray tries again, from the last checkpoint", error)
            self.trial = self.trial.model_copy(update={"status": Status.INTERRUPTED})
            raise
        except StorageFailed:
            raise
        except TrialEnded as error:
            log.error("%s", error)
            self.trial = self._failed(error.status, error.failure)
        except Exception as error:
            status, failure = run_trial.ended_by(error)
            log.error("%s", failure.traceback)
            self.trial = self._failed(status, failure)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Finish the old assignment and take up a new one in the same process, and with the same ranks."""
        self._finish()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Release what the trial holds, and end the ranks."""
        self._finish()
        if self.gang is not None:
            self.gang.dismiss()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the trial writes its own checkpoints, and `setup` finds them."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, for the same reason."""

    def _advance(self) -> None:
        if self.epochs is None:
            known = len(self.trial.reports)
            self.epochs = self._begin()
            if len(self.trial.reports) > known:
                # What the driver has not seen yet it must judge before more is trained.
                self._settle()
                return
        report = next(self.epochs, None)
        if report is not None:
            self._publish(report)
            self.trial = self.trial.model_copy(update={"reports": (*self.trial.reports, report)})
            if self.wandb is not None:
                self.wandb.log(report)
            values = ", ".join(f"{name} {value:.4g}" for name, value in report.metrics.items())
            log.info("epoch %d: %s (%.1f s)", report.epoch, values, report.seconds)
        self._settle()

    def _settle(self) -> None:
        """Complete the trial where its last epoch was its end, or the sweep's target is reached."""
        objective = self.trial.objective
        if objective is not None and reached(self.assignment.target, self.trial.config.objective, objective):
            *earlier, last = self.trial.reports
            reports = (*earlier, last.model_copy(update={"ended_by": "target"}))
            self.trial = self.trial.model_copy(update={"reports": reports})
        if self.trial.ended_by is not None:
            self.trial = self.trial.model_copy(update={"status": Status.COMPLETED})

    def _finish(self) -> None:
        """Release what the trial holds. A trial that was not done has been stopped by the scheduler, or by a person.

        Tune dismisses a worker that starts late unused; by then another may be at work on the trial, on this node.
        """
        if self._handler is None:
            return
        if isinstance(self.epochs, Iterator) and hasattr(self.epochs, "close"):
            self.epochs.close()
        self.epochs = None
        status = self.trial.status
        if status is Status.RUNNING:
            status = Status.INTERRUPTED if self.run.stop_request.exists() else Status.PRUNED
        best = {} if self.trial.best is None else {f"best/{k}": v for k, v in self.trial.best.metrics.items()}
        if self.wandb is not None:
            self.wandb.finish(status, best)
        run_trial.stop_trial_log(self._handler)
        self._handler = None
        self.store.release(self.run.checkpoints(self.trial.trial_id))

    def _begin(self) -> Iterator[EpochReport]:
        """The trial's iterator, at its last checkpoint where there is one, and its run in W&B.

        Not before the first step: a worker that starts late may be set up for a trial that another has run meanwhile.
        """
        from orchestrator.tracking.wandb_tracker import WandbRun

        self._handler = run_trial.start_trial_log(self.store.fetch(self.run.log(self.trial.trial_id)))
        log.info("trial %s: %s", self.trial.trial_id, self.trial.parameters)
        self.wandb = WandbRun(
            self.assignment.wandb,
            sweep=self.assignment.sweep,
            name=self.trial.trial_id,
            job_type="trial",
            config=self.trial.config,
            folder=self.run.local,
        )
        self.store.release(self.run.checkpoints(self.trial.trial_id))  # of a process that was killed
        self.store.fetch(self.run.last(self.trial.trial_id))
        group = ray.util.get_current_placement_group()
        if self.gang is None and group is not None and self.assignment.resources.needs_worker_group:
            self.gang = WorkerGroup(group)
        begin = run_trial.begin if self.gang is None else self.gang.begin
        reports, epochs = begin(self.assignment)
        if reports:
            log.info("resumed after epoch %d", len(reports))
        elif self.trial.reports:
            log.warning("its %d epochs have left no checkpoint: begun anew", len(self.trial.reports))
        self.trial = self.trial.model_copy(update={"reports": reports})
        return epochs

    def _publish(self, report: EpochReport) -> None:
        """What the epoch has left, in the order in which it was written: a resumed trial finds `last`."""
        trial_id = self.trial.trial_id
        if report.checkpoint == "best":
            self.store.publish(self.run.predictions(trial_id))
            self.store.publish(self.run.best(trial_id))
        self.store.publish(self.run.last(trial_id))

    def _failed(self, status: Status, failure: Failure) -> TrialResult:
        path = str(self.run.here(self.run.log(self.trial.trial_id)).relative_to(self.run.local))
        return self.trial.model_copy(update={"status": status, "failure": failure.model_copy(update={"log": path})})

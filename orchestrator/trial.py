"""One trial as Ray Tune sees it: `step()` is `next()` of the trial's iterator, in a process that stays warm.

What takes seconds to import (torch, timm, W&B) is imported by a worker's first step, not to start it: Tune dismisses a
worker that is still starting when another falls idle, and where trials are shorter than imports it would dismiss one
after another and never have more than one.
"""

import gc
import logging
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ray import tune

from orchestrator.assignment import Assignment, answer
from orchestrator.logs import LogFile
from search_spaces.errors import OutOfMemory, StorageFailed
from trainables.result import EpochReport, Failure, Status, TrialResult

if TYPE_CHECKING:
    from orchestrator.tracking import WandbRun


class TrialActor(tune.Trainable):
    """Runs one assignment after another; imports and device context are paid once."""

    _imported = False

    def setup(self, config: dict[str, Any]) -> None:
        """Take up an assignment. Whatever has been trained of it before is found in its own checkpoint."""
        self.assignment = Assignment.from_tune(config)
        self.run = self.assignment.run_folder
        self.trial: TrialResult = self.assignment.trial
        self._handler: LogFile | None = None
        self.wandb: WandbRun | None = None
        self.epochs: Iterator[EpochReport] | None = None

    def step(self) -> dict[str, Any]:
        """One epoch. The trial's own errors end it, as FAILED or PRUNED_OOM; only the death of the process is Ray's.

        Where its storage fails it is INTERRUPTED, and has a failure: the searcher ends the sweep.
        """
        try:
            self._attempt()
            self.run.publish(self.run.log(self.trial.trial_id))
        except StorageFailed as error:
            logging.getLogger("orchestrator").error("%s", error)
            update = {"status": Status.INTERRUPTED, "failure": Failure(message=str(error))}
            self.trial = self.trial.model_copy(update=update)
        return answer(self.trial, done=self.trial.status is not Status.RUNNING)

    def _attempt(self) -> None:
        try:
            self._advance()
        except StorageFailed:
            raise
        except Exception as error:
            logging.getLogger("orchestrator").error("%s", traceback.format_exc())
            status = Status.PRUNED_OOM if isinstance(error, OutOfMemory) else Status.FAILED
            self.trial = self.trial.model_copy(update={"status": status, "failure": self._failure(error)})

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Finish the old assignment and take up a new one in the same process."""
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Release what the trial holds. A trial that was not done has been stopped by the scheduler, or by a person."""
        if isinstance(self.epochs, Iterator) and hasattr(self.epochs, "close"):
            self.epochs.close()
        self.epochs = None
        status = self.trial.status
        if status is Status.RUNNING:
            status = Status.INTERRUPTED if self.run.stop_request.exists() else Status.PRUNED
        best = {} if self.trial.best is None else {f"best/{k}": v for k, v in self.trial.best.metrics.items()}
        if self.wandb is not None:
            self.wandb.finish(status, best)
        if self._handler is not None:
            self._handler.close()
            logging.getLogger().removeHandler(self._handler)
        self.run.release(self.run.checkpoints(self.trial.trial_id))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the trial writes its own checkpoints, and `setup` finds them."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, for the same reason."""

    def _advance(self) -> None:
        if self.epochs is None:
            self.epochs = self._begin()
        report = next(self.epochs, None)
        if report is not None:
            self._publish(report)
            self.trial = self.trial.model_copy(update={"reports": (*self.trial.reports, report)})
            if self.wandb is not None:
                self.wandb.log(report)
            values = ", ".join(f"{name} {value:.4g}" for name, value in report.metrics.items())
            logging.getLogger("orchestrator").info("epoch %d: %s (%.1f s)", report.epoch, values, report.seconds)
        if self.trial.ended_by is not None:
            self.trial = self.trial.model_copy(update={"status": Status.COMPLETED})

    def _begin(self) -> Iterator[EpochReport]:
        """The trial's iterator, at its last checkpoint where there is one, and its run in W&B.

        Not before the first step: a worker that starts late may be set up for a trial that another has run meanwhile.
        """
        import torch

        from orchestrator.tracking import WandbRun
        from trainables import checkpoint
        from trainables.train import train

        if not TrialActor._imported:
            # Accelerate collects garbage at every thaw. What the imports have made is never garbage, but to walk
            # through it takes longer than a short trial: the collector is told to leave it alone.
            gc.freeze()
            TrialActor._imported = True
        torch.set_num_threads(self.assignment.threads)
        self._log_to(self.trial.trial_id)
        self.wandb = WandbRun(
            self.assignment.wandb,
            sweep=self.assignment.sweep,
            name=self.trial.trial_id,
            job_type="trial",
            config=self.trial.config,
            folder=self.run.local,
        )
        folders = self.assignment.folders
        self.run.release(self.run.checkpoints(self.trial.trial_id))  # of a process that was killed
        self.run.fetch(self.run.last(self.trial.trial_id))
        if not checkpoint.exists(folders.last):
            return train(self.trial.config, folders)
        reports = checkpoint.CheckpointState.read(folders.last).reports
        self.trial = self.trial.model_copy(update={"reports": reports})
        logging.getLogger("orchestrator").info("resumed after epoch %d", len(reports))
        return train(self.trial.config, folders, folders.last)

    def _publish(self, report: EpochReport) -> None:
        """What the epoch has left, in the order in which it was written: a resumed trial finds `last`."""
        trial_id = self.trial.trial_id
        if report.checkpoint == "best":
            self.run.publish(self.run.predictions(trial_id))
            self.run.publish(self.run.best(trial_id))
        self.run.publish(self.run.last(trial_id))

    def _failure(self, error: Exception) -> Failure:
        message = str(error).strip().splitlines()
        return Failure(
            message=f"{type(error).__name__}: {message[0] if message else 'no message'}",
            traceback=traceback.format_exc(),
            log=str(self.run.here(self.run.log(self.trial.trial_id)).relative_to(self.run.local)),
        )

    def _log_to(self, trial_id: str) -> None:
        path = self.run.fetch(self.run.log(trial_id))
        self._handler = LogFile(path, "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s")
        root = logging.getLogger()
        root.setLevel(logging.INFO)
        root.addHandler(self._handler)
        logging.getLogger("orchestrator").info("trial %s: %s", trial_id, self.trial.parameters)

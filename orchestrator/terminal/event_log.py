"""A sweep told to machines: one JSON object a line for every event. Names of events and fields are an interface."""

import datetime
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, TextIO

from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.notify import SweepEnding
from trainables.result import EpochReport, Status, TrialResult
from trainables.storage.place import Place


class EventLog:
    """Writes events to a stream, each at once; called with every change of a trial, as any progress is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._epochs: dict[str, int] = {}

    def sweep_started(self, spec: SweepSpec, run: Place, known: Sequence[TrialResult]) -> None:
        """The first trial is about to start; `known` are those of an earlier part of the run."""
        self._write(
            "sweep_started",
            name=spec.name,
            run=str(run.resolve()),
            objective=spec.objective.model_dump(mode="json"),
            trials_planned=spec.search.trials,
            trials_known=len(known),
        )

    def __call__(self, trial: TrialResult) -> None:
        """Tell what is new of a trial: that it has started, each of its epochs, that it has ended."""
        if trial.trial_id not in self._epochs:
            # A resumed trial starts with the epochs that an earlier driver has told of.
            self._epochs[trial.trial_id] = len(trial.reports)
            self._write(
                "trial_started",
                trial_id=trial.trial_id,
                parameters=trial.parameters,
                epochs=trial.config.epochs,
                epochs_done=len(trial.reports),
            )
        for report in trial.reports[self._epochs[trial.trial_id] :]:
            self._epoch(trial, report)
        self._epochs[trial.trial_id] = len(trial.reports)
        if trial.status is not Status.RUNNING:
            self._write(
                "trial_ended",
                trial_id=trial.trial_id,
                status=trial.status,
                objective=trial.objective,
                epoch=None if trial.best is None else trial.best.epoch,
                epochs_done=len(trial.reports),
                seconds=trial.seconds,
                failure=None if trial.failure is None else trial.failure.message,
            )

    def ending(self, reason: str) -> None:
        """No more trials are begun; those that run end their epoch first."""
        self._write("sweep_ending", reason=reason)

    def sweep_ended(self, ending: SweepEnding) -> None:
        """Nothing runs any more."""
        best, shown = ending.best, None
        if best is not None and best.best is not None:
            shown = {
                "trial_id": best.trial_id,
                "objective": best.objective,
                "epoch": best.best.epoch,
                "parameters": best.parameters,
            }
        counts = Counter(trial.status.value for trial in ending.trials)
        self._write("sweep_ended", status=ending.status, message=ending.message, trials=counts, best=shown)

    def warning(self, message: str) -> None:
        """Something a person would want to know; the sweep goes on."""
        self._write("warning", message=message)

    def error(self, message: str, exit_code: int) -> None:
        """The command ends with this exit code before a trial has started."""
        self._write("error", message=message, exit_code=exit_code)

    def _epoch(self, trial: TrialResult, report: EpochReport) -> None:
        self._write(
            "epoch",
            trial_id=trial.trial_id,
            epoch=report.epoch,
            epochs=trial.config.epochs,
            objective=report.metrics.get(trial.config.objective.metric),
            metrics=report.metrics,
            seconds=report.seconds,
            notes=list(report.notes),
        )

    def _write(self, event: str, **fields: Any) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        self._stream.write(json.dumps({"event": event, "time": now, **fields}, allow_nan=False) + "\n")
        self._stream.flush()

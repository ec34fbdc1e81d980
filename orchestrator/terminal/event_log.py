"""EventLog: one line of JSON per event of a sweep. Names of events and fields are an interface."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, TextIO

from orchestrator.terminal.tables import against_probe
from orchestrator.tracking.observer import Observer, SweepEnding, SweepStart, TrackerProblem
from search_spaces.redaction import redact
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

if TYPE_CHECKING:  # pyarrow comes with it, which no event but one needs
    from analysis.comparisons.baseline import Baseline


class EventLog(Observer):
    """EventLog: writes events to a stream, each at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._epochs: dict[str, int] = {}
        self.is_closed = False
        """True where the end of the sweep has been written."""

    def on_start(self, start: SweepStart) -> None:
        """Write `sweep_started`."""
        self._write(
            "sweep_started",
            name=start.name,
            run=str(start.run.resolve()),
            objective=start.objective.model_dump(mode="json"),
            trials_planned=start.trials_planned,
            trials_known=len(start.known),
        )

    def on_trial(self, trial: TrialResult) -> None:
        """Write `trial_started`, `epoch` and `trial_ended`, as far as they are new."""
        if trial.trial_id not in self._epochs:
            # A resumed trial starts with the epochs that an earlier driver has reported.
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

    def on_closing(self, reason: str) -> None:
        """Write `sweep_ending`."""
        self._write("sweep_ending", reason=reason)

    def on_problem(self, problem: TrackerProblem) -> None:
        """Write `warning`."""
        self.warning(problem.message)

    def on_close(self, ending: SweepEnding) -> None:
        """Write `sweep_ended`."""
        self.is_closed = True
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
        """Write `warning`."""
        self._write("warning", message=redact(message))

    def baseline(self, found: Baseline) -> None:
        """Write `baseline`: the winner beside the best linear probe, and the interval of their difference."""
        difference = found.difference
        self._write(
            "baseline",
            trial_id=found.winner.trial_id,
            architecture=found.architecture,
            probe=found.probe,
            difference=difference.value,
            interval=[difference.interval.low, difference.interval.high],
            beaten=found.is_beaten,
            message=against_probe(found),
        )

    def error(self, message: str, exit_code: int) -> None:
        """Write `error`: the command ends with this exit code before a trial has started."""
        self._write("error", message=redact(message), exit_code=exit_code)

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

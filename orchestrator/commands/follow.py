"""A sweep from its start to its end as the terminal shows it: live, quietly, or as events for machines."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import errors, escaped, output, prose
from search_spaces.errors import InvalidInput, ThawError
from trainables.storage.place import Place

if TYPE_CHECKING:
    from orchestrator.driver.sweep import SweepOutcome
    from orchestrator.spec.sweep_spec import SweepSpec
    from orchestrator.terminal.event_log import EventLog
    from orchestrator.tracking.notify import SweepStatus
    from orchestrator.tracking.observer import OnEnding, Progress
    from trainables.result import TrialResult

SHOWN_TRIALS = 10


class LogFormat(StrEnum):
    """What stands on standard error while a sweep runs."""

    TEXT = "text"
    JSON = "json"


QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the leaderboard at the end.")]
LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="json: one JSON object a line on standard error, and nothing else.")
]


@contextmanager
def sweep_reporter(*, quiet: bool, log_format: LogFormat) -> "Iterator[SweepReporter]":
    """Speak of what is done in the block; where machines listen, an error is an event too."""
    from orchestrator.terminal.event_log import EventLog

    if quiet and log_format is LogFormat.JSON:
        raise InvalidInput("--quiet must not be given with --log-format json, which it would silence; give one of them")
    if log_format is LogFormat.TEXT:
        yield SweepReporter(quiet)
        return
    log = EventLog(sys.stderr)
    told = SweepReporter(quiet, log)
    try:
        yield told
    except ThawError as error:
        if not told.ended:
            log.error(str(error), error.exit_code)
        raise typer.Exit(error.exit_code) from error


class SweepReporter:
    """Speaks of a sweep: to a person, to a machine (`log`), or to nobody until the end."""

    def __init__(self, quiet: bool, log: "EventLog | None" = None) -> None:
        self.quiet = quiet
        self.log = log
        self.started = False
        self.ended = False

    def say(self, text: str) -> None:
        """Tell a person who wants to read it."""
        if self.talks:
            prose(errors, text)

    @property
    def talks(self) -> bool:
        """Whether a person wants to read what goes on."""
        return self.log is None and not self.quiet

    def warn(self, message: str) -> None:
        """Tell a person or a machine what is wrong, though not so wrong as to stop."""
        if self.log is not None:
            self.log.warning(message)
        else:
            prose(errors, f"[bold yellow]warning:[/bold yellow] {escaped(message)}")

    def follow(
        self,
        spec: "SweepSpec",
        run: Place,
        drive: "Callable[[Progress, OnEnding], SweepOutcome]",
        known: "Sequence[TrialResult]" = (),
    ) -> None:
        """Have a sweep driven to its end, and tell of it; `known` are the trials of an earlier part of `run`.

        Raises what `drive` raises, and typer.Exit where a person stopped the sweep.
        """
        from orchestrator.search.rungs import unstoppable_warning
        from orchestrator.search.unmodeled import sampler_warning

        for problem in (unstoppable_warning(spec), sampler_warning(spec.search, spec.search_space)):
            if problem is not None and not self.quiet:
                self.warn(problem)
        seen = {trial.trial_id: trial for trial in known}
        with self._view(spec, known) as (progress, on_ending):

            def tell(trial: "TrialResult") -> None:
                self._start(spec, run, known)
                seen[trial.trial_id] = trial
                progress(trial)

            try:
                outcome = drive(tell, on_ending)
            except InvalidInput:
                raise  # nothing has begun, so nothing has ended
            except Exception as error:
                self._end(spec, run, "failed", list(seen.values()), str(error) or type(error).__name__)
                raise
        self._start(spec, run, known)  # where nothing was left to do
        status: SweepStatus = "interrupted" if outcome.interrupted else "completed"
        self._end(spec, run, status, list(seen.values()), ended=outcome.ended)
        if self.log is None:
            _show(outcome, hints=not self.quiet)
        if outcome.interrupted:
            raise typer.Exit(130)

    def _start(self, spec: "SweepSpec", run: Place, known: "Sequence[TrialResult]") -> None:
        """Tell a machine, once, that nothing stands in the way any more."""
        if self.log is not None and not self.started:
            self.log.sweep_started(spec, run, known)
        self.started = True

    @contextmanager
    def _view(self, spec: "SweepSpec", known: "Sequence[TrialResult]") -> "Iterator[tuple[Progress, OnEnding]]":
        from orchestrator.cluster.runtime import cluster_size
        from orchestrator.terminal.live_view import LiveView
        from orchestrator.tracking.observer import silent

        if self.log is not None:
            yield self.log, self.log.ending
        elif self.quiet:
            yield silent, silent
        else:
            with LiveView(errors, spec, known, cluster_size) as view:
                yield view, view.ending

    def _end(
        self,
        spec: "SweepSpec",
        run: Place,
        status: "SweepStatus",
        trials: "list[TrialResult]",
        failure: str = "",
        ended: str | None = None,
    ) -> None:
        """Tell whoever is to know that the sweep is over; a person who has stopped it knows."""
        from analysis.leaderboard import Leaderboard
        from orchestrator.tracking.notify import Ending, notify

        board = Leaderboard.from_trials(spec.objective, trials)
        best = next((entry.trial for entry in board.entries if entry.rank == 1), None)
        message = failure or _summary(spec, trials, best)
        if ended is not None:
            message += f"; ended by {ended}"
        ending = Ending(spec.name, run, status, message, tuple(trials), best)
        if self.log is not None:
            self.log.sweep_ended(ending)
        self.ended = True
        if status != "interrupted":
            for problem in notify(spec.tracking, ending):
                self.warn(problem)


def _summary(spec: "SweepSpec", trials: "list[TrialResult]", best: "TrialResult | None") -> str:
    done = sum(not trial.status.unfinished for trial in trials)
    counted = f"{done} of {spec.search.trials} trials done"
    if best is None or best.best is None:
        return f"{counted}, none completed"
    return (
        f"{counted}, best {spec.objective.metric} {best.objective:.4f} (trial {best.trial_id}, epoch {best.best.epoch})"
    )


def _show(outcome: "SweepOutcome", *, hints: bool) -> None:
    from orchestrator.terminal.tables import trial_table

    root = escaped(outcome.run.root)
    output.print(trial_table(outcome.leaderboard.entries[:SHOWN_TRIALS], outcome.leaderboard.objective, output))
    if outcome.ended is not None:
        prose(errors, f"\n{ended(outcome.ended, outcome.run.root)}")
    elif outcome.interrupted:
        prose(errors, f"\nstopped; nothing is lost. Go on with: thaw resume {root}")
    if hints and not outcome.interrupted:
        if any(outcome.run.wandb.glob("offline-run-*")):
            prose(errors, f"\nsend the runs to W&B:      wandb sync {escaped(outcome.run.wandb)}/offline-run-*")
        prose(
            errors,
            f"\nsee all trials:            thaw leaderboard {root}\n"
            f"retrain and test the best: thaw retrain {root}\n"
            f"export it to ONNX:         thaw export {root}",
        )


def ended(reason: str, run: Place) -> str:
    """Which budget ended a run, and how it goes on."""
    return f"ended by {escaped(reason)}; go on with: thaw extend {escaped(run)} --set {reason.partition(':')[0]}=..."

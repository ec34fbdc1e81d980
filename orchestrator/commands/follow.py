"""SweepReporter: a sweep from start to end on the terminal: live, quietly, or as events for machines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.leaderboard import note_folds
from orchestrator.commands.options import errors, escaped, hint_of_sync, output, prose
from search_spaces.errors import InvalidInput, ThawError
from search_spaces.shell import thaw_command
from trainables.storage.place import Place

if TYPE_CHECKING:
    from orchestrator.driver.sweep import SweepOutcome
    from orchestrator.spec.sweep_spec import SweepSpec
    from orchestrator.terminal.event_log import EventLog
    from orchestrator.tracking.observer import Observer

SHOWN_TRIALS = 10


class LogFormat(StrEnum):
    """Format of standard error while a sweep runs."""

    TEXT = "text"
    JSON = "json"


QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the leaderboard at the end.")]
LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="json: one JSON object a line on standard error, and nothing else.")
]


@contextmanager
def sweep_reporter(*, quiet: bool, log_format: LogFormat) -> "Iterator[SweepReporter]":
    """Report the sweep of the block; with the format json an error is an event too."""
    from orchestrator.terminal.event_log import EventLog

    if quiet and log_format is LogFormat.JSON:
        raise InvalidInput("--quiet must not be given with --log-format json, which it would silence; give one of them")
    if log_format is LogFormat.TEXT:
        yield SweepReporter(quiet)
        return
    log = EventLog(sys.stderr)
    try:
        yield SweepReporter(quiet, log)
    except ThawError as error:
        if not log.is_closed:
            log.error(str(error), error.exit_code)
        raise typer.Exit(error.exit_code) from error


class SweepReporter:
    """SweepReporter: reports a sweep to a user, to a machine (`log`), or, if quiet, only at the end."""

    def __init__(self, quiet: bool, log: "EventLog | None" = None) -> None:
        self.quiet = quiet
        self.log = log

    def say(self, text: str) -> None:
        """Print a text, unless quiet or for a machine."""
        if self.talks:
            prose(errors, text)

    def note(self, text: str) -> None:
        """Print a text as it is, unless quiet or for a machine."""
        self.say(escaped(text))

    @property
    def talks(self) -> bool:
        """True where messages for a user are printed."""
        return self.log is None and not self.quiet

    def warn(self, message: str) -> None:
        """Report a problem that does not stop the sweep."""
        if self.log is not None:
            self.log.warning(message)
        else:
            prose(errors, f"[bold yellow]warning:[/bold yellow] {escaped(message)}")

    def follow(
        self,
        spec: "SweepSpec",
        run: Place,
        drive: "Callable[[tuple[Observer, ...]], SweepOutcome | None]",
        *,
        shown: bool = True,
    ) -> None:
        """Call `drive`, which runs the sweep at `run` to its end, with the observers.

        `drive` returns None where nothing was left to do. The outcome is `shown`, or else left to the caller. Raises
        the errors of `drive`, and typer.Exit where a user stopped the sweep.
        """
        from orchestrator.search.rungs import make_rungs, unstoppable_warning
        from orchestrator.search.unmodeled_dimensions import sampler_warning
        from orchestrator.spec.sweep_spec import untrained_statistics_warning
        from orchestrator.tracking.notify import Notifier

        configs = spec.corner_configs()
        late = unstoppable_warning(make_rungs(spec.stopping, configs), configs)
        untrained = untrained_statistics_warning(configs)
        for problem in (late, sampler_warning(spec.search, spec.search_space), untrained):
            if problem is not None and not self.quiet:
                self.warn(problem)
        try:
            with self._view(spec) as view:
                outcome = drive((*view, Notifier(spec.tracking, self.warn)))
        except KeyboardInterrupt:  # a second Ctrl-C, or one before the first trial
            self._report_cut(run)
            raise typer.Exit(130) from None
        if outcome is None:
            return
        if self.log is None:
            if shown:
                _show(outcome, hints=not self.quiet)
            elif outcome.interrupted:
                self.say(f"stopped; go on with the same command, or with: {escaped(thaw_command('resume', run))}")
        elif outcome.baseline is not None:
            self.log.baseline(outcome.baseline)
        if outcome.interrupted:
            raise typer.Exit(130)

    def _report_cut(self, run: Place) -> None:
        """Report that a user has ended the sweep without waiting for its epochs."""
        from analysis.run_folder import claimed_run

        if any(layer.run_json.is_file() for layer in claimed_run(run).layers()):
            message = f"stopped at once; epochs in progress are lost. Go on with: {thaw_command('resume', run)}"
        else:
            message = "stopped before the first trial; nothing was written"
        if self.log is None:
            prose(errors, f"\n{escaped(message)}")
        elif not self.log.is_closed:
            self.log.error(message, 130)

    @contextmanager
    def _view(self, spec: "SweepSpec") -> "Iterator[tuple[Observer, ...]]":
        from orchestrator.cluster.runtime import cluster_size
        from orchestrator.terminal.live_view import LiveView

        if self.log is not None:
            yield (self.log,)
        elif self.quiet:
            yield ()
        else:
            with LiveView(errors, spec, cluster_size) as view:
                yield (view,)


def _show(outcome: "SweepOutcome", *, hints: bool) -> None:
    from analysis.comparisons.confirmation import confirmation_text, read_confirmation
    from analysis.comparisons.folds import folds_text
    from analysis.ledger import Ledger
    from analysis.run_folder import open_run
    from orchestrator.terminal.tables import against_probe
    from orchestrator.terminal.trial_table import trial_table

    root, board = outcome.run.root, outcome.leaderboard
    output.print(trial_table(board.entries[:SHOWN_TRIALS], board.objective, output, board.probes))
    note_folds(board)
    if hints and outcome.baseline is not None:
        prose(errors, f"\n{escaped(against_probe(outcome.baseline))}")
    if outcome.ended is not None:
        prose(errors, f"\n{ended(outcome.ended, outcome.run.root)}")
    elif outcome.interrupted:
        prose(errors, f"\nstopped; nothing is lost. Go on with: {escaped(thaw_command('resume', root))}")
    if hints and not outcome.interrupted:
        hint_of_sync(outcome.run)
        is_confirmation = Ledger(outcome.run).read_run().confirms is not None and (root.parent / "run.json").is_file()
        searched = root.parent if is_confirmation else root  # the winner is one of the search
        if is_confirmation and (found := read_confirmation(open_run(searched))) is not None:
            prose(output, f"\n{escaped(confirmation_text(found))}")
        has_folds = folds_text(entry.trial for entry in board.entries)
        best = "first train it on all:    " if has_folds else "retrain and test the best:"
        onnx = "then export it to ONNX:   " if has_folds else "export it to ONNX:        "
        prose(
            errors,
            f"\nsee all trials:            {escaped(thaw_command('leaderboard', root))}\n"
            f"{best} {escaped(thaw_command('retrain', searched))}\n"
            f"{onnx} {escaped(thaw_command('export', searched))}",
        )


def ended(reason: str, run: Place) -> str:
    """Return which budget ended a run, and the command that continues it."""
    extend = f"{thaw_command('extend', run)} --set {reason.partition(':')[0]}=..."
    return f"ended by {escaped(reason)}; go on with: {escaped(extend)}"

"""Commands for sweeps: space, plan, sweep, resume, extend, confirm, status, logs, stop."""

import codecs
import time
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.follow import SHOWN_TRIALS, LogFormat, LogFormatOption, QuietOption, ended, sweep_reporter
from orchestrator.commands.options import (
    AddressOption,
    Format,
    FormatOption,
    RunArgument,
    SetOption,
    SweepArgument,
    decoding_bar,
    errors,
    escaped,
    output,
    print_json,
    prose,
    show_problem,
    warn_of,
)
from orchestrator.commands.plan import plan
from search_spaces.errors import InvalidInput
from search_spaces.shell import thaw_command
from search_spaces.terminal_text import without_controls
from search_spaces.user_files import RUN_FILE

if TYPE_CHECKING:
    from analysis.run_folder import RunFolder
    from orchestrator.commands.follow import SweepReporter

STOP_TIMEOUT = 120.0
FOLLOW_SECONDS = 1.0


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (space, plan, sweep, resume, extend, confirm, status, logs, stop):
        app.command(rich_help_panel="Sweep")(command)


def space(file: SweepArgument, set_: SetOption = None, format: FormatOption = Format.TABLE) -> None:
    """Show the search space of a sweep file: its tree, its size, the points tried first, three samples."""
    from orchestrator.search.starting_points import starting_points
    from orchestrator.search.unmodeled_dimensions import sampler_warning
    from orchestrator.spec.loading import load
    from search_spaces.space import sample

    spec = load(file, set_ or [])
    problem = sampler_warning(spec.search, spec.search_space)
    if problem is not None:
        warn_of([problem])
    search_space, samples = spec.search_space, sample(spec.search_space, count=3, seed=spec.search.seed)
    # Probed architectures come in the order of the file here: which probe is best is not known yet.
    size, first = search_space.size(), starting_points(spec.problem, spec.given_points(), spec.probed_architectures)
    if format is Format.JSON:
        print_json({"tree": search_space.tree(), "size": size, "first": first, "samples": samples})
        return
    output.print(escaped("\n".join(search_space.tree())), highlight=False)
    prose(output, f"\n{'infinitely many' if size is None else f'{size:,}'} points, {spec.search.trials} trials")
    for title, points in (("tried first", first[:3]), ("samples", samples)):
        for point in points:
            values = ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in point.items())
            prose(output, f"{title:>11}: {escaped(values)}")


def sweep(
    file: SweepArgument,
    set_: SetOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default that of the sweep file.")] = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run a sweep. Ctrl-C (or `thaw stop` elsewhere) stops it cleanly; `thaw resume` continues it."""
    with sweep_reporter(quiet=quiet, log_format=log_format) as tell:
        from orchestrator.spec.loading import load

        spec = load(file, set_ or [], name)

        # These take seconds: a file that is refused does not wait for them.
        from orchestrator.driver.preflight import check_fresh, preflight
        from orchestrator.driver.sweep import run_sweep

        check_fresh(spec.run_root)  # the others take longer
        tell.say(f"{spec.name}: looking at the images, and building every model once")
        with decoding_bar(quiet=not tell.talks) as on_decoding:
            arrays = preflight(spec, on_decoding)
        for remark in arrays.remarks:
            tell.warn(remark)
        counts = arrays.dataset.counts_text
        tell.say(f"{spec.name}: {len(arrays.classes)} classes, images: {counts}; run {escaped(spec.run_root)}")
        tell.follow(spec, spec.run_root, lambda observers: run_sweep(spec, arrays, observers, address))


def resume(
    run: RunArgument,
    address: AddressOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = LogFormat.TEXT,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Refused: `thaw extend` changes a run."),
    ] = None,
) -> None:
    """Continue a run that was stopped, killed or cut off: finished trials stay, others resume at their last epoch."""
    with sweep_reporter(quiet=quiet, log_format=log_format) as tell:
        if set_:
            change = thaw_command("extend", run, *(word for value in set_ for word in ("--set", value)))
            raise InvalidInput(f"--set: a resumed run keeps its settings, got {', '.join(set_)}; change them: {change}")
        from analysis.ledger import Ledger
        from analysis.run_folder import open_run
        from orchestrator.spec.loading import load_run

        folder = open_run(run)
        ledger, spec = Ledger(folder), load_run(folder)

        from orchestrator.driver.sweep import resume_sweep  # takes seconds

        known = ledger.trials()
        for problem in ledger.problems:
            tell.warn(problem)
        tell.follow(spec, run, lambda observers: resume_sweep(run, observers, address, tell.note))
        if len(known) >= spec.search.trials and not any(trial.status.unfinished for trial in known):
            tell.say(f"nothing was left to do; for more: {escaped(thaw_command('extend', run))} --trials 10")


def extend(
    run: RunArgument,
    trials: Annotated[int, typer.Option(min=0, help="How many trials more than planned so far.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change what is searched or the budget; KEY+=VALUE appends, e.g. --set space.architecture+=resnet18.",
        ),
    ] = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Continue a run that has ended or was stopped, with more: trials, architectures, wider ranges, a larger budget.

    All old results stay on the leaderboard, and the sampler learns from those that lie in the space.
    """
    with sweep_reporter(quiet=quiet, log_format=log_format) as tell:
        from orchestrator.driver.extend import extend_sweep, plan_extension

        extended = plan_extension(run, trials, set_ or [], tell.note)
        for change in extended.record.extensions[-1].changes:
            tell.say(escaped(change))
        if extended.outside:
            tell.warn(
                f"{len(extended.outside)} of {len(extended.trials)} old trials lie outside of the space now: they stay "
                "on the leaderboard, and the sampler is not told of them"
            )
        tell.follow(extended.spec, run, lambda observers: extend_sweep(extended, observers, address))


def confirm(
    run: RunArgument,
    top: Annotated[int, typer.Option(min=1, help="Number of finalists, from the first of the leaderboard.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Number of trainings of each, with other seeds.")] = 5,
    address: AddressOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = LogFormat.TEXT,
    format: FormatOption = Format.TABLE,
) -> None:
    """Train the best trials again under several seeds, without ASHA, and tell whether one is better than the others.

    The best of many scores is partly luck. What was trained before is kept: more --seeds add to it.
    """
    with sweep_reporter(quiet=quiet or format is Format.JSON, log_format=log_format) as tell:
        from analysis.heartbeat import is_alive
        from analysis.run_folder import open_run
        from analysis.winner import unconfirmed_remark
        from orchestrator.driver.confirm import check_confirmation, confirm_finalists, plan_confirmation
        from orchestrator.tracking.configured_trackers import publish_summary

        folder = open_run(run)
        if is_alive(run):
            tell.warn("the search is still running: the finalists may change, and both runs share the machine")
        plan = plan_confirmation(folder, top, seeds)
        names = ", ".join(trial.trial_id for trial in plan.finalists)
        tell.say(f"{names}: {len(plan.seeds)} trainings each, run {escaped(folder.confirm)}")
        if len(plan.finalists) < top:
            only = f"{len(plan.finalists)} finalist{'s' if len(plan.finalists) > 1 else ''}"
            tell.warn(f"--top {top}: the run has {only} that differ in more than their seed")
        _tell_begun(tell, folder)
        with decoding_bar(quiet=not tell.talks) as on_decoding:
            arrays = check_confirmation(plan, on_decoding)
        try:
            tell.follow(
                plan.spec,
                folder.confirm,
                lambda observers: confirm_finalists(plan, arrays, observers, address),
                shown=False,
            )
        except typer.Exit:  # a user has stopped it; the trials of its run have other ids than the finalists
            _print_confirmation(folder, format if tell.log is None else None)
            raise
        _print_confirmation(folder, format if tell.log is None else None)
        publish_summary(folder, plan.spec.tracking, show_problem)
        remark = unconfirmed_remark(folder)
        if remark is None:
            tell.say(f"\nretrain and test the best: {escaped(thaw_command('retrain', run))}")
        else:
            tell.warn(remark)


def _tell_begun(tell: "SweepReporter", run: "RunFolder") -> None:
    """Say that trainings of an earlier call are finished as well."""
    from analysis.comparisons.confirmation import read_confirmation

    begun = read_confirmation(run)
    if begun is not None and not begun.is_done:
        ended = begun.completed + begun.failed
        tell.say(f"{ended} of the {begun.planned} trainings of an earlier call have ended; the others are done first")


def _print_confirmation(run: "RunFolder", format: Format | None) -> None:
    """Print the finalists; not at all where events are printed instead, and before the first training."""
    from analysis.comparisons.confirmation import confirmation_text, read_confirmation
    from orchestrator.terminal.confirmation import confirmation_table

    found = read_confirmation(run)
    if found is None:
        return
    if format is Format.JSON:
        print_json(found.to_json())
    elif format is Format.TABLE:
        if found.finalists:
            output.print(confirmation_table(found))
        prose(output, f"\n{escaped(confirmation_text(found))}")


def status(run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    """Show the state of a run: whether it runs, its trials by status, the best so far. Works from any terminal."""
    from collections import Counter

    from analysis import heartbeat
    from analysis.indexed_ledger import IndexedLedger
    from analysis.leaderboard import Leaderboard
    from analysis.run_folder import open_run
    from orchestrator.terminal.trial_table import trial_table

    folder = open_run(run)
    ledger = IndexedLedger(folder)
    record, board, alive = ledger.read_run(), Leaderboard.from_ledger(ledger), heartbeat.is_alive(run)
    warn_of(board.problems)
    if not alive:
        board = board.without_driver()
    counts = Counter(entry.trial.status for entry in board.entries)
    if format is Format.JSON:
        found = {"name": record.name, "driven": alive, "trials_planned": record.trials_planned, "ended": record.ended}
        print_json({**found, "trials": counts, "best": [entry.to_json() for entry in board.entries[:1]]})
        return
    driver = heartbeat.read(run)
    state = f"driven by {driver.who}" if alive and driver else "not running"
    prose(output, f"[bold]{escaped(record.name)}[/bold]: {state}")
    by_status = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none yet"
    done = sum(count for state, count in counts.items() if not state.unfinished)
    prose(output, f"{done} of {record.trials_planned} trials done: {by_status}")
    output.print(trial_table(board.entries[:SHOWN_TRIALS], board.objective, output, board.probes))
    unfinished = any(state.unfinished for state in counts) or len(board.entries) < record.trials_planned
    if record.ended is not None:
        prose(output, ended(record.ended, run))
    elif not alive and unfinished:
        prose(output, f"go on with: {escaped(thaw_command('resume', run))}")


def logs(
    run: RunArgument,
    trial: Annotated[
        str | None, typer.Argument(help="A trial's id, e.g. 0007; without it, the sweep's own log.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue to print new lines; Ctrl-C ends.")] = False,
) -> None:
    """Print the log of a trial, or of the sweep itself."""
    from analysis.run_folder import open_run
    from trainables.storage.place import read_place

    folder = open_run(run)
    path = folder.sweep_log if trial is None else folder.log(trial)
    if not path.is_file():
        there = sorted(log.stem for log in path.parent.glob("*.log") if log != folder.sweep_log)
        raise InvalidInput(
            f"{run}: log must be of a trial that ran, got {trial or 'no trial'}; there are {', '.join(there) or 'none'}"
        )
    decoder, printed = codecs.getincrementaldecoder("utf-8")("replace"), 0
    while True:
        content = read_place(path, RUN_FILE)
        typer.echo(without_controls(decoder.decode(content[printed:])), nl=False)
        printed = len(content)
        if not follow:
            return
        time.sleep(FOLLOW_SECONDS)


def stop(run: RunArgument) -> None:
    """Stop a running sweep from any terminal: its trials end, results are kept, `thaw resume` continues it."""
    from orchestrator.driver.stop_request import request_stop

    request = request_stop(run)
    with errors.status("waiting for the driver to stop"):
        request.wait(STOP_TIMEOUT)
    prose(errors, f"stopped; go on with: {escaped(thaw_command('resume', run))}")

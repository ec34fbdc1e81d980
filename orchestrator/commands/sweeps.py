"""Commands for whoever runs sweeps: space, sweep, resume, status, logs, stop."""

import codecs
import time
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import (
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
)
from search_spaces.errors import InvalidInput, ThawError

if TYPE_CHECKING:
    from orchestrator.sweep import Outcome

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the leaderboard at the end.")]

TOP = 10
STOP_TIMEOUT = 120.0
FOLLOW_SECONDS = 1.0


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (space, sweep, resume, status, logs, stop):
        app.command(rich_help_panel="Sweep")(command)


def space(file: SweepArgument, set_: SetOption = None, format: FormatOption = Format.TABLE) -> None:
    """Show the search space of a sweep file: its tree, its size, the points tried first, three samples."""
    from orchestrator.spec import load
    from orchestrator.suggest import sample

    spec = load(file, set_ or [])
    search_space, samples = spec.search_space, sample(spec.search_space, count=3, seed=spec.search.seed)
    size, first = search_space.size(), spec.first_points()
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
    quiet: QuietOption = False,
) -> None:
    """Run a sweep. Ctrl-C (or `thaw stop` elsewhere) ends it cleanly; `thaw resume` goes on."""
    from orchestrator.preflight import preflight
    from orchestrator.progress import SweepProgress, silent
    from orchestrator.spec import load
    from orchestrator.sweep import run_sweep

    spec = load(file, set_ or [], name)
    if not quiet:
        prose(errors, f"{spec.name}: looking at the images, and building every model once")
    with decoding_bar(quiet=quiet) as on_decoding:
        arrays = preflight(spec, on_decoding)
    if quiet:
        outcome = run_sweep(spec, arrays, silent)
    else:
        counts = ", ".join(f"{len(samples)} {split}" for split, samples in arrays.dataset.splits.items())
        prose(errors, f"{spec.name}: {len(arrays.classes)} classes, {counts} images; run {escaped(spec.run_root)}")
        with SweepProgress(errors, spec.name, spec.objective, spec.search.trials) as progress:
            outcome = run_sweep(spec, arrays, progress)
    _finish(outcome, quiet)


def resume(run: RunArgument, quiet: QuietOption = False) -> None:
    """Go on with a run that was stopped, killed or cut off: finished trials stay, others resume at their last epoch."""
    from analysis.ledger import Ledger
    from analysis.run_folder import open_run
    from orchestrator.progress import SweepProgress, silent
    from orchestrator.sweep import resume_sweep

    ledger = Ledger(open_run(run))
    record = ledger.read_run()
    if quiet:
        _finish(resume_sweep(run, silent), quiet)
        return
    with SweepProgress(errors, record.name, record.objective, record.trials_planned) as progress:
        progress.known(ledger.trials())
        outcome = resume_sweep(run, progress)
    _finish(outcome, quiet)


def status(run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    """Show how a run stands: whether it is running, its trials by status, the best so far. Works from any terminal."""
    from collections import Counter

    from analysis import heartbeat
    from analysis.leaderboard import Leaderboard
    from analysis.ledger import Ledger
    from analysis.run_folder import open_run
    from orchestrator.tables import trial_table

    folder = open_run(run)
    record, board, alive = Ledger(folder).read_run(), Leaderboard.from_run(folder), heartbeat.is_alive(folder)
    counts = Counter(entry.trial.status for entry in board.entries)
    if format is Format.JSON:
        found = {"name": record.name, "driven": alive, "trials_planned": record.trials_planned}
        print_json({**found, "trials": counts, "best": [entry.to_json() for entry in board.entries[:1]]})
        return
    driver = heartbeat.read(folder)
    state = f"driven by process {driver.pid} on {driver.host}" if alive and driver else "not running"
    prose(output, f"[bold]{escaped(record.name)}[/bold]: {state}")
    by_status = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none yet"
    prose(output, f"{len(board.entries)} of {record.trials_planned} trials: {by_status}")
    output.print(trial_table(board.entries[:TOP], board.objective, output))
    unfinished = any(state.unfinished for state in counts) or len(board.entries) < record.trials_planned
    if not alive and unfinished:
        prose(output, f"go on with: thaw resume {escaped(run)}")


def logs(
    run: RunArgument,
    trial: Annotated[
        str | None, typer.Argument(help="A trial's id, e.g. 0007; without it, the sweep's own log.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what is added; Ctrl-C ends.")] = False,
) -> None:
    """Print the log of a trial, or of the sweep itself."""
    from analysis.run_folder import open_run

    folder = open_run(run)
    path = folder.sweep_log if trial is None else folder.log(trial)
    if not path.is_file():
        there = sorted(log.stem for log in path.parent.glob("*.log") if log != folder.sweep_log)
        raise InvalidInput(
            f"{run}: log must be of a trial that ran, got {trial or 'no trial'}; there are {', '.join(there) or 'none'}"
        )
    decoder, printed = codecs.getincrementaldecoder("utf-8")("replace"), 0
    while True:
        content = path.read_bytes()
        typer.echo(decoder.decode(content[printed:]), nl=False)
        printed = len(content)
        if not follow:
            return
        time.sleep(FOLLOW_SECONDS)


def stop(run: RunArgument) -> None:
    """Stop a running sweep from any terminal: its trials end, what is done is kept, `thaw resume` goes on."""
    from analysis import heartbeat
    from analysis.run_folder import open_run

    folder = open_run(run)
    if not heartbeat.is_alive(folder):
        raise InvalidInput(f"{run}: must be running to be stopped, but it is not; see `thaw status {run}`")
    folder.stop_request.touch()
    deadline = time.monotonic() + STOP_TIMEOUT
    with errors.status("waiting for the driver to stop"):
        while heartbeat.is_alive(folder):
            if time.monotonic() > deadline:
                raise ThawError(
                    f"{run}: asked to stop, but still running after {STOP_TIMEOUT:.0f} s; see its own terminal"
                )
            time.sleep(0.2)
    prose(errors, f"stopped; go on with: thaw resume {escaped(run)}")


def _finish(outcome: "Outcome", quiet: bool) -> None:
    from orchestrator.tables import trial_table

    root = outcome.run.root
    entries = outcome.leaderboard.entries
    output.print(trial_table(entries[:TOP], outcome.leaderboard.objective, output))
    if outcome.interrupted:
        prose(errors, f"\nstopped; nothing is lost. Go on with: thaw resume {escaped(root)}")
        raise typer.Exit(130)
    if quiet:
        return
    offline = sorted(path.name for path in outcome.run.wandb.glob("offline-run-*"))
    if offline:
        prose(
            errors,
            f"\nsend the runs to W&B:      wandb sync {escaped(outcome.run.wandb)}/offline-run-*",
        )
    prose(
        errors,
        f"\nsee all trials:            thaw leaderboard {escaped(root)}\n"
        f"retrain and test the best: thaw retrain {escaped(root)}\n"
        f"export it to ONNX:         thaw export {escaped(root)}",
    )

"""Command for a cluster from elsewhere: submit, which begins, resumes or extends a run there and follows it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.options import errors, escaped, prose
from search_spaces.errors import InvalidInput
from search_spaces.paths import as_path
from search_spaces.shell import shell_command, thaw_command
from search_spaces.terminal_text import without_colors
from trainables.storage.place import Place, as_place

if TYPE_CHECKING:
    from orchestrator.cluster.submission import Job

_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Sweep")(submit)


def submit(
    address: Annotated[
        str, typer.Option(metavar="URL", help="The dashboard of the cluster's head node, e.g. http://head:8265.")
    ],
    file: Annotated[
        Path | None, typer.Argument(parser=as_path, metavar="FILE", help="The sweep file of a new run.")
    ] = None,
    resume: Annotated[
        Any, typer.Option(parser=as_place, metavar="RUN", help="Continue this run of the cluster, as `thaw resume`.")
    ] = None,
    extend: Annotated[
        Any, typer.Option(parser=as_place, metavar="RUN", help="Continue it with more, as `thaw extend`.")
    ] = None,
    trials: Annotated[int, typer.Option(min=0, help="With --extend: trials more than planned so far.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a value of the file, or with --extend of the run, e.g. --set search.trials=40; repeatable.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of a new run; by default that of the sweep file.")] = None,
) -> None:
    """Submit a sweep to a cluster, or resume or extend a run there, and follow it. After Ctrl-C it continues there.

    All paths are the cluster's. A run whose head was lost is resumed on a new one: it must lie where that sees it.
    """
    _check_together(file, resume, extend, trials, set_ or [], name, address)
    from orchestrator.spec.loading import load

    spec = None if file is None else load(file, set_ or [], name)

    # This takes a second: a file that is refused does not wait for it.
    from orchestrator.cluster.submission import extend_command, resume_command, submit_job, sweep_command

    run: Place
    if spec is not None:
        run, command = spec.run_root, sweep_command(spec.to_yaml())
    elif resume is not None:
        run, command = resume, resume_command(resume)
    else:
        run, command = extend, extend_command(extend, trials, set_ or [])
    _follow(submit_job(run, command, address), run, address)


def _check_together(
    file: Path | None,
    resume: Place | None,
    extend: Place | None,
    trials: int,
    changes: Sequence[str],
    name: str | None,
    address: str,
) -> None:
    """Raise InvalidInput where more or less than one thing is to be done, or an option does not belong to it."""
    given = {"FILE": file, "--resume": resume, "--extend": extend}
    got = [option for option, value in given.items() if value is not None]
    if len(got) != 1:
        raise InvalidInput(
            f"submit: must get one of FILE, --resume RUN and --extend RUN, got {' and '.join(got) or 'none'}; "
            "a sweep file begins a run, the others continue one"
        )
    if name is not None and file is None:
        raise InvalidInput(f"--name: must come with a sweep file, got {got[0]}; a run keeps its name, leave --name out")
    if resume is not None and (changes or trials):
        words = (*(f"--set={change}" for change in changes), *([f"--trials={trials}"] if trials else []))
        change_it = thaw_command("submit", "--extend", resume, *words, "--address", address)
        raise InvalidInput(
            f"--resume: a resumed run keeps its settings, got {', '.join(words)}; change them: {change_it}"
        )
    if file is not None and trials:
        raise InvalidInput(
            f"--trials: must come with --extend, got {trials}; for a new run: --set search.trials={trials}"
        )


def _follow(job: "Job", run: Place, address: str) -> None:
    """Print what the job prints until it ends; raise typer.Exit with its code where that is not 0."""
    at = (job.job_id, "--address", address)
    stop_it = escaped(shell_command("ray", "job", "stop", *at))
    follow_it = escaped(shell_command("ray", "job", "logs", "--follow", *at))
    prose(
        errors,
        f"{escaped(run.name)}: job {job.job_id} at {escaped(address)}; run {escaped(run)}\n"
        f"follow it again: {follow_it}\nend it:          {stop_it}\n",
    )
    try:
        code = job.follow(lambda text: typer.echo(without_colors(text), nl=False))
    except KeyboardInterrupt:
        prose(errors, f"\nno longer following; the sweep goes on. End it with: {stop_it}")
        raise typer.Exit(_INTERRUPTED) from None
    if code == _INTERRUPTED:
        prose(errors, f"stopped; from this machine, continue it with: {escaped(job.resume)}")
    if code:
        raise typer.Exit(code)

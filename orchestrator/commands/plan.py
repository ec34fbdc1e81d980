"""Command plan: cost of a sweep, before it is launched."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import (
    Format,
    FormatOption,
    SetOption,
    SweepArgument,
    errors,
    output,
    print_json,
)

if TYPE_CHECKING:
    from orchestrator.planning.calibrate import Done
    from orchestrator.planning.price import HourlyPrice
    from orchestrator.planning.site import Site
    from orchestrator.planning.subprocess_runner import Runner
    from orchestrator.spec.sections import Resources

_MEASURED = "trainables.estimate.phase_cost"


def plan(
    file: SweepArgument,
    set_: SetOption = None,
    price: Annotated[
        str | None,
        typer.Option(
            metavar="MONEY",
            help="Price per hour, e.g. 1.20/h, 1.20 or '$1.20/h': of a GPU where trials use GPUs, else of a machine. "
            "All of them are paid for from start to end, at work or not, and a cluster's head is one of the machines.",
        ),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, help="Plan for so many machines like this one, or like the measured node of --address."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT",
            help="Plan for the Ray cluster that this machine is a node of, and measure on a node that has room for a "
            "worker; by default $RAY_ADDRESS, else this machine alone.",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Measure what a sweep would cost: time, memory, trials at once, money, what cannot fit. No training."""
    from orchestrator.planning.price import read_price
    from orchestrator.spec.loading import load

    spec = load(file, set_ or [])
    rent = None if price is None else read_price(price)
    with _bar() as show, _opened(spec.resources, nodes, address, rent) as (site, runner):
        from orchestrator.planning.plan import make_plan

        found = make_plan(spec, site, runner, show)
    if format is Format.JSON:
        print_json(found.to_json())
    else:
        from orchestrator.terminal.plan_table import plan_report

        output.print(plan_report(found))
    if found.refused:
        raise typer.Exit(2)


@contextlib.contextmanager
def _bar() -> Iterator["Done"]:
    """Yield a callback for the measurements that are done, shown as a bar on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("measuring", total=None)
        yield lambda done, total, _what: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def _opened(
    resources: "Resources", nodes: int | None, address: str | None, price: "HourlyPrice | None"
) -> Iterator[tuple["Site", "Runner"]]:
    """Yield the machines to plan for, and the runner on the one that is measured."""
    if address or os.environ.get("RAY_ADDRESS"):
        from orchestrator.cluster import runtime  # imports Ray

        if runtime.is_joined(address):
            with tempfile.TemporaryDirectory() as folder, runtime.connected(Path(folder), address=address):
                yield _on_cluster(resources, nodes, price)
            return
    from orchestrator.planning.subprocess_runner import SubprocessRunner

    runner = SubprocessRunner(_MEASURED)  # takes seconds to import, while this process imports torch
    from orchestrator.cluster.machine import this_machine
    from orchestrator.planning.site import Site

    machine = this_machine()
    yield Site(machine, (machine.node,) * (nodes or 1), price=price), runner


def _on_cluster(resources: "Resources", nodes: int | None, price: "HourlyPrice | None") -> tuple["Site", "Runner"]:
    from orchestrator.planning.site import Site
    from orchestrator.worker.node_runner import NodeRunner

    runner = NodeRunner(_MEASURED, resources)
    planned = runner.nodes if nodes is None else (runner.node,) * nodes
    return Site(runner.machine, planned, runner.name, price), runner

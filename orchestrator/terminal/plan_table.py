"""Plan of a sweep as a report for the terminal."""

from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cluster.capacity import node_text
from orchestrator.planning.plan import Plan, PlanRow
from orchestrator.planning.simulate import Forecast
from orchestrator.terminal.tables import duration, memory_text

_COLUMNS = (
    ("strategy", 11, "left"),
    ("stages", 6, "right"),
    ("trainable", 11, "right"),
    ("step", 7, "right"),
    ("epoch", 8, "right"),
    ("features", 8, "right"),
    ("memory", 8, "right"),
)


def plan_report(plan: Plan) -> Group:
    """Return the table of phases, then the figures derived from it, then the problems."""
    parts: list[RenderableType] = []
    for architecture in dict.fromkeys(row.architecture for row in plan.rows):
        rows = [row for row in plan.rows if row.architecture == architecture]
        title = Text.assemble((architecture, "bold"), f", {rows[0].phases[0].cost.parameters:,} parameters")
        parts += [title, _phases(rows), Text()]
    if plan.rows:
        parts += [Text(_legend(plan), style="dim"), Text()]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    for name, text in _facts(plan):
        facts.add_row(name, text)
    parts.append(facts)
    if plan.stopped is not None and plan.stopped.rungs:
        parts += [Text(), _rungs(plan.stopped, plan.spec.search.trials)]
    for problem in plan.problems:
        where = f"{problem.architecture}, stages {problem.stages}: "
        parts += [Text(), Text.assemble(("cannot be run: ", "bold red"), where, problem.message)]
    if plan.problems and plan.rows:
        parts += [Text(), Text("What cannot be run is left out of the forecast.")]
    for warning in plan.warnings:
        parts += [Text(), Text.assemble(("warning: ", "bold yellow"), warning)]
    return Group(*parts)


def _phases(rows: list[PlanRow]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, width, justify in _COLUMNS:
        table.add_column(name, justify="right" if justify == "right" else "left", min_width=width, no_wrap=True)
    for row in rows:
        for number, phase in enumerate(row.phases):
            first = number == 0
            table.add_row(
                row.strategy if first else "  then",
                str(phase.stages),
                f"{phase.cost.trainable:,}",
                duration(phase.step),
                duration(phase.epoch),
                duration(phase.features) if phase.cost.features is not None else "",
                Text(memory_text(row.memory) if first else "", style="" if row.fits else "bold red"),
            )
    return table


def _legend(plan: Plan) -> str:
    sizes = sorted({row.phases[0].cost.config.batch_size for row in plan.rows})
    resources = plan.spec.resources
    share = f"{resources.gpus_per_worker:g} GPU" if resources.gpus_per_worker else f"{resources.cpus_per_worker:g} core"
    return (
        f"step: {' or '.join(map(str, sizes))} images on {share}, beside as many trials as run at once. epoch: "
        "training, validation, checkpoint. features: what a frozen part says of all images, computed once a machine. "
        "memory: peak of a process."
    )


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    counts, site = plan.sample.counts, plan.site
    machine = site.machine
    folds = plan.spec.data.folds
    images = ", ".join(f"{counts[split]:,} {split}" for split in ("train", "val") if split in counts)
    if folds is not None:
        images = f"{counts['train']:,}, in {folds} folds,"
    yield (
        "data",
        f"{images} images in {len(plan.sample.arrays.classes)} classes; decoding takes {duration(plan.decoding)}",
    )
    gpus = f", {machine.gpus} x {machine.gpu} of {memory_text(machine.gpu_memory)}" if machine.gpus else ", no GPU"
    node = "" if site.node_name is None else f"node {site.node_name}: "
    yield "machine", f"{node}{machine.cores} cores, {memory_text(machine.memory)} of memory{gpus}"
    if site.node_name is not None or len(site.nodes) > 1:
        yield "nodes", _nodes(plan)
    yield "at once", _at_once(plan)
    if plan.probing:
        yield "probes", f"{duration(plan.probing)} for the linear probes before the first trial"
    if site.price is not None:
        devices, kind = site.rented(plan.spec.resources)
        hourly = site.price.text.partition("/")[0].rstrip()
        yield "price", f"{hourly} per {kind}-hour, {devices} {kind}{'s' if devices > 1 else ''} from start to end"
    if plan.full is not None:
        yield "no stopping", _forecast(plan, plan.full)
    if plan.stopped is not None:
        yield "with ASHA", _forecast(plan, plan.stopped)
    if plan.exempt is not None:
        epochs, seconds = plan.exempt
        yield (
            "exempt",
            f"{epochs:.0%} of the epochs, {seconds:.0%} of the time: before a trial's first rung after its thaw",
        )


def _nodes(plan: Plan) -> str:
    nodes = Counter(node_text(node) for node in plan.site.nodes)
    return f"{nodes.total()}: {', '.join(f'{count} x {text}' for text, count in nodes.items())}"


def _at_once(plan: Plan) -> str:
    fitting = plan.at_once
    limits = [f"cores let {fitting.by_cores}"]
    if fitting.by_gpus is not None:
        limits.append(f"GPUs {fitting.by_gpus}")
    if fitting.by_memory is not None:
        limits.append(f"memory {fitting.by_memory}")
    if fitting.by_setting is not None:
        limits.append(f"resources.concurrent {fitting.by_setting}")
    return f"{fitting.trials} trial{'s' if fitting.trials > 1 else ''} ({', '.join(limits)})"


def _forecast(plan: Plan, forecast: Forecast) -> str:
    low, high, mean = (duration(plan.before + seconds) for seconds in (forecast.low, forecast.high, forecast.seconds))
    hours = plan.device_hours(forecast)
    return (
        f"{mean} ({low} to {high}), {hours:.2g} {plan.device}-hours{_money(plan, forecast)}; "
        f"{plan.spec.search.trials} trials, {forecast.epochs:.0f} epochs"
    )


def _money(plan: Plan, forecast: Forecast) -> str:
    """Return the money for the mean wall time and for its interval; nothing without a price."""
    price = plan.site.price
    if price is None:
        return ""
    walls = [plan.before + seconds for seconds in (forecast.seconds, forecast.low, forecast.high)]
    mean, low, high = (price.money(plan.rented_hours(wall)) for wall in walls)
    return f", {mean} ({low} to {high})"


def _rungs(forecast: Forecast, trials: int) -> Table:
    """Return a table of the number of trials that reach each rung."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rung", "reached", "exempt", "stopped", "go on"):
        table.add_column(name, justify="left" if name == "rung" else "right", no_wrap=True)
    for epochs, rung in forecast.rungs.items():
        table.add_row(
            str(epochs),
            *(f"{count:.1f}" for count in (rung.reached, rung.unjudged, rung.stopped, rung.reached - rung.stopped)),
        )
    table.caption = f"of {trials} trials, as an expected number"
    table.caption_justify = "left"
    return table

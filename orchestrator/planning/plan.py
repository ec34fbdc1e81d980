"""Plan: cost of a sweep on this machine, or on a cluster, before it is launched (`thaw plan`)."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.cluster.machine import (
    WORKER_OVERHEAD,
    ConcurrentTrials,
    at_once,
    with_room,
    worker_memory,
)
from orchestrator.planning.calibrate import Done, PhaseProblem, calibrate
from orchestrator.planning.cost_model import CostModel, TrialPhase
from orchestrator.planning.simulate import Forecast, exempt_shares, forecast_sweeps, sample_sweeps
from orchestrator.planning.site import Site
from orchestrator.planning.subprocess_runner import Runner
from orchestrator.search.rungs import Rungs, make_rungs, unstoppable_warning
from orchestrator.search.starting_points import starting_points
from orchestrator.spec.sweep_spec import SweepSpec
from trainables.config import TrialConfig
from trainables.estimate.linear_probe import probe_config
from trainables.estimate.phase_cost import ImageSample, sample_images
from trainables.model.freeze_plan import freeze_plan
from trainables.storage.folders import cache_folder

# Seconds to start Ray; benchmarks/results.md measured 3.4 to 12 s, depending on the load of the machine.
RAY_SECONDS = 6.0


@dataclass(frozen=True)
class PlanRow:
    """PlanRow: one architecture under one strategy."""

    architecture: str
    strategy: str
    phases: tuple[TrialPhase, ...]
    """Phases of the first corner of the space with these stages."""

    memory: int
    """Peak of a worker in bytes, over all its phases and settings."""

    fits: bool


@dataclass(frozen=True)
class Plan:
    """Plan: forecast cost of a sweep."""

    spec: SweepSpec
    site: Site
    sample: ImageSample
    rows: tuple[PlanRow, ...]
    problems: tuple[PhaseProblem, ...]
    warnings: tuple[str, ...]
    at_once: ConcurrentTrials
    imports: float
    """Seconds until a fresh worker has imported the packages that training needs."""

    decoding: float
    """Seconds to decode all images, which a machine does once."""

    probing: float
    """Seconds to probe the architectures; 0 where the sweep does not."""

    full: Forecast | None
    """Forecast without stopping; None where nothing could be measured."""

    stopped: Forecast | None
    """Forecast with the sweep's own stopping; None where it has none."""

    exempt: tuple[float, float] | None
    """Share of the epochs, and of the time, that stopping cannot affect."""

    @property
    def device(self) -> str:
        """Device that the hours of a forecast refer to."""
        return "GPU" if self.spec.resources.gpus_per_worker else "core"

    def rented_hours(self, seconds: float) -> float:
        """Return the hours that are paid for after `seconds` of wall time, over all devices that are paid for."""
        return self.site.rented(self.spec.resources)[0] * seconds / 3600

    @property
    def before(self) -> float:
        """Seconds before the first trial: decoding, where that has not been done, Ray, imports, and linear probes."""
        return self.decoding + RAY_SECONDS + self.imports + self.probing

    def device_hours(self, forecast: Forecast) -> float:
        """Return GPU-hours, or core-hours where trials use no GPU; the start of workers counts too."""
        resources = self.spec.resources
        share = resources.gpus_per_worker or resources.cpus_per_worker
        seconds = forecast.busy + self.at_once.trials * self.imports
        return seconds * share * resources.workers / 3600

    @property
    def refused(self) -> bool:
        """True where `thaw sweep` would refuse the file."""
        return any(not problem.of_memory for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping; times in seconds, memory in bytes."""
        resources = self.spec.resources
        exempt = None if self.exempt is None else dict(zip(("epochs", "seconds"), self.exempt, strict=True))
        return {
            "name": self.spec.name,
            "machine": asdict(self.site.machine),
            "measured_on": self.site.node_name,
            "nodes": [{"cores": node.get("CPU", 0), "gpus": node.get("GPU", 0)} for node in self.site.nodes],
            "price": self._price(),
            "data": {
                "images": self.sample.counts,
                "classes": len(self.sample.arrays.classes),
                "decoding": self.decoding,
            },
            "table": [self._row(row) for row in self.rows],
            "at_once": asdict(self.at_once) | {"workers": resources.workers},
            "probing": self.probing,
            "before": self.before,
            "forecast": {"without_stopping": self._forecast(self.full), "with_stopping": self._forecast(self.stopped)},
            "rungs": [
                {"rung": epochs, **asdict(rung)}
                for epochs, rung in (self.stopped.rungs if self.stopped is not None else {}).items()
            ],
            "exempt": exempt,
            "problems": [asdict(problem) for problem in self.problems],
            "warnings": list(self.warnings),
        }

    def _price(self) -> dict[str, Any] | None:
        price = self.site.price
        if price is None:
            return None
        devices, kind = self.site.rented(self.spec.resources)
        return {"text": price.text, "per_hour": price.per_hour, "per": kind, "devices": devices}

    def _forecast(self, forecast: Forecast | None) -> dict[str, Any] | None:
        if forecast is None:
            return None
        price, walls = self.site.price, {"": forecast.seconds, "_low": forecast.low, "_high": forecast.high}
        return {
            "trials": self.spec.search.trials,
            "epochs": forecast.epochs,
            "wall_seconds": self.before + forecast.seconds,
            "wall_low": self.before + forecast.low,
            "wall_high": self.before + forecast.high,
            "device": self.device,
            "device_hours": self.device_hours(forecast),
            **{
                f"money{end}": None if price is None else price.per_hour * self.rented_hours(self.before + seconds)
                for end, seconds in walls.items()
            },
        }

    @staticmethod
    def _row(row: PlanRow) -> dict[str, Any]:
        return {
            "architecture": row.architecture,
            "strategy": row.strategy,
            "parameters": row.phases[0].cost.parameters,
            "batch_size": row.phases[0].cost.config.batch_size,
            "phases": [
                {
                    "stages": phase.stages,
                    "trainable": phase.cost.trainable,
                    "on_features": phase.cost.features is not None,
                    "features": phase.features,
                    "step": phase.step,
                    "epoch": phase.epoch,
                }
                for phase in row.phases
            ],
            "memory": row.memory,
            "fits": row.fits,
        }


def make_plan(spec: SweepSpec, site: Site, runner: Runner, done: Done) -> Plan:
    """Measure the corners of a sweep and forecast the rest; `done(number, of, what)` is called after each measurement.

    `runner` runs on the machine of `site`. Nothing is written, and no trial is trained. Raises InvalidInput for a data
    set that cannot be read, and for a price of GPUs that are not there.
    """
    site.check_price(spec.resources)
    machine, nodes = site.machine, site.nodes
    corners = spec.corner_configs()
    most = 2 * max(64, *(config.batch_size for config in corners))
    sample = sample_images(spec.data, most, cache_folder(spec.storage.cache_dir))
    # Trials on different GPUs do not slow each other down; trials that share one do.
    many = at_once(spec.resources, machine).trials
    side_by_side = min(many, int(1 / spec.resources.gpus_per_worker)) if spec.resources.gpus_per_worker else many
    probes = _probes(corners) if spec.probed else []
    costs, problems = calibrate(corners, probes, spec.resources, sample, runner, max(1, side_by_side), done)
    rows = _rows(corners, costs, worker_memory(spec.resources, machine), besides=0 if machine.gpus else WORKER_OVERHEAD)
    fitting = at_once(spec.resources, machine, max((row.memory for row in rows), default=None), nodes)
    rungs = make_rungs(spec.stopping, corners)
    # The probes have no scores yet: the architectures come in the order of the file.
    first = starting_points(spec.problem, spec.given_points(), spec.probed_architectures)
    sweeps = sample_sweeps(spec.problem, first, costs, rungs) if rows else []
    probing = [phase for config in probes for phase in costs.phases(config) or ()]
    stored = dict.fromkeys(phase.features_key for phase in probing)
    machines = max(1, len(with_room(spec.resources, nodes)))

    def forecast(own: Rungs | None) -> Forecast:
        return forecast_sweeps(sweeps, costs, fitting.trials, own, stored, machines)

    configs = [config for sweep in sweeps for config in sweep]
    late = unstoppable_warning(rungs, corners)
    return Plan(
        spec=spec,
        site=site,
        sample=sample,
        rows=tuple(rows),
        problems=tuple(problems),
        warnings=(*_warnings(costs, rows, fitting), *site.warnings(spec.resources), *([late] if late else [])),
        at_once=fitting,
        imports=runner.imports,
        decoding=sample.decode * (sample.counts["train"] + sample.counts.get("val", 0)),
        probing=sum(phase.features for phase in probing) / max(1, min(fitting.trials, len(probing))),
        full=forecast(None) if sweeps else None,
        stopped=forecast(rungs) if sweeps and rungs is not None else None,
        exempt=exempt_shares(configs, costs, rungs) if sweeps and rungs is not None else None,
    )


def _probes(corners: Iterable[TrialConfig]) -> list[TrialConfig]:
    """Return one linear probe per architecture and weights: answers to imbalance share its features."""
    probes = {(config.architecture, config.weights): probe_config(config) for config in corners}
    return list(probes.values())


def _rows(corners: Iterable[TrialConfig], costs: CostModel, limit: int, besides: int) -> list[PlanRow]:
    rows: dict[tuple[Any, ...], PlanRow] = {}
    for config in corners:
        phases = costs.phases(config)
        if phases is None:
            continue
        key = (config.architecture, config.strategy, *freeze_plan(config).boundaries.values())
        memory = max(phase.cost.memory for phase in phases) + besides
        known = rows.get(key)
        rows[key] = PlanRow(
            architecture=config.architecture,
            strategy=config.strategy,
            phases=tuple(phases) if known is None else known.phases,
            memory=memory if known is None else max(memory, known.memory),
            fits=memory <= limit and (known is None or known.fits),
        )
    return list(rows.values())


def _warnings(costs: CostModel, rows: list[PlanRow], fitting: ConcurrentTrials) -> Iterator[str]:
    largest = max(rows, key=lambda row: row.memory, default=None)
    if largest is not None and fitting.by_memory is not None and 0 < fitting.by_memory < fitting.trials:
        yield (
            f"{fitting.trials} trials at once may need more memory than there is: one of {largest.architecture}, "
            f"{largest.strategy}, takes {largest.memory / 2**30:.1f} GiB, which lets {fitting.by_memory}; "
            f"set resources.concurrent: {fitting.by_memory}, a smaller batch_size or micro_batch_size"
        )
    for architecture in dict.fromkeys(row.architecture for row in rows if not row.fits):
        yield (
            f"{architecture} does not fit into memory: it takes up to "
            f"{max(row.memory for row in rows if row.architecture == architecture) / 2**30:.1f} GiB; set a smaller "
            "micro_batch_size or image_size, or leave it out"
        )
    notes = {note: kind for kind, cost in costs.measured.items() for note in cost.notes}
    yield from (f"{kind.architecture}, stages {kind.stages}: {note}" for note, kind in notes.items())
    if costs.workers > 1:
        yield (
            f"with {costs.workers} workers a trial, the times are those of one worker divided by as many: "
            "what workers tell each other is not measured"
        )

"""Simulation of a sweep's duration: random trials of its space are simulated, epoch by epoch, with ASHA's own rungs.

The scores of trials are not known: each trial gets a random score that stays the same over its epochs. So ASHA stops as
many trials as it does when early scores distinguish them, and when the sampler's later proposals are no better than its
first. Patience, budgets and failures, which end trials sooner, are left out.
"""

import heapq
import math
import random
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, quantiles

from orchestrator.planning.cost_model import CostModel, TrialPhase
from orchestrator.search.random_points import price_function, random_point
from orchestrator.search.rungs import Rungs
from orchestrator.spec.search_problem import SearchProblem
from search_spaces.space import Point, sample
from trainables.config import TrialConfig
from trainables.result import EpochReport, TrialResult

# Number of simulated trials, whatever the number in the sweep, so that the mean does not depend on the draw.
_PLAYED = 400
_LEAST, _MOST = 5, 40


@dataclass
class RungCounts:
    """RungCounts: outcomes of the trials that complete a rung's epochs."""

    reached: float = 0
    """Trials that complete its epochs, and continue or end there."""

    unjudged: float = 0
    """Of these, passed without judgment: they have not been thawed for long enough."""

    stopped: float = 0
    """Of these, stopped there."""


@dataclass
class SimulatedSweep:
    """SimulatedSweep: result of one simulation."""

    seconds: float = 0
    """Seconds from the first trial's start to the last one's end."""

    busy: float = 0
    """Seconds of all trials together."""

    epochs: int = 0
    """Epochs of all trials together."""

    rungs: dict[int, RungCounts] = field(default_factory=dict)


@dataclass(frozen=True)
class Forecast:
    """Forecast: mean of many simulated sweeps, and their spread."""

    seconds: float
    """Wall time, without the time before the first trial."""

    low: float
    """Tenth percentile of the wall time: one in ten takes less."""

    high: float
    """Ninetieth percentile of the wall time: one in ten takes more."""

    busy: float
    """Seconds of all trials together."""

    epochs: float
    rungs: dict[int, RungCounts]


def forecast_sweeps(
    sweeps: Sequence[Sequence[TrialConfig]],
    costs: CostModel,
    at_once: int,
    rungs: Rungs | None,
    stored: Collection[Hashable] = (),
    machines: int = 1,
) -> Forecast:
    """Simulate each of `sweeps`; with stopping at `rungs`, which are empty and stay so, or without any.

    `stored` has the keys of features that are there before the first trial, each on one of the `machines` in turn.
    """
    played = [
        simulate_sweep(configs, costs, at_once, None if rungs is None else rungs.emptied(), seed, stored, machines)
        for seed, configs in enumerate(sweeps)
    ]
    seconds = [one.seconds for one in played]
    tenths = quantiles(seconds, n=10, method="inclusive")
    means = {
        rung: RungCounts(*(fmean(getattr(one.rungs[rung], name) for one in played) for name in vars(RungCounts())))
        for rung in played[0].rungs
    }
    return Forecast(
        seconds=fmean(seconds),
        low=tenths[0],
        high=tenths[-1],
        busy=fmean(one.busy for one in played),
        epochs=fmean(one.epochs for one in played),
        rungs=means,
    )


def sample_sweeps(
    problem: SearchProblem, first: Sequence[Point], costs: CostModel, rungs: Rungs | None
) -> list[list[TrialConfig]]:
    """Return the trials of several sweeps: `first`, which are in each, and others at random.

    Points that a search draws at random are drawn in the same way; plain draws stand for the sampler's.
    """
    known = price_function(rungs)

    def price(config: TrialConfig) -> float:
        return math.inf if costs.phases(config) is None else known(config)

    search = problem.search
    rest = range(len(first), search.trials)
    count = min(max(math.ceil(_PLAYED / search.trials), _LEAST), _MOST)
    sweeps = []
    for seed in range(search.seed, search.seed + count):
        seeded = replace(problem, search=search.model_copy(update={"seed": seed}))
        plain = sample(problem.space, len(rest), seed)
        points = [random_point(seeded, number, price) or point for number, point in zip(rest, plain, strict=True)]
        sweeps.append([problem.configure(point) for point in (*first, *points)])
    return sweeps


def exempt_shares(configs: Sequence[TrialConfig], costs: CostModel, rungs: Rungs) -> tuple[float, float]:
    """Return the share of the epochs, and of the time, before the first rung at which a trial is judged."""
    epochs = [0, 0]
    seconds = [0.0, 0.0]
    for config in configs:
        times = [epoch.seconds for epoch in _epochs(costs.phases(config) or [])]
        free = rungs.first_judged_epoch(config) or config.epochs
        epochs = [epochs[0] + len(times[:free]), epochs[1] + len(times)]
        seconds = [seconds[0] + sum(times[:free]), seconds[1] + sum(times)]
    return (epochs[0] / epochs[1], seconds[0] / seconds[1]) if epochs[1] else (0.0, 0.0)


def simulate_sweep(
    configs: Sequence[TrialConfig],
    costs: CostModel,
    at_once: int,
    rungs: Rungs | None = None,
    seed: int = 0,
    stored: Collection[Hashable] = (),
    machines: int = 1,
) -> SimulatedSweep:
    """Simulate a sweep: `at_once` workers of `machines` take the trials in order; `rungs`, still empty, may stop them.

    Trials that could not be measured are skipped.
    """
    waiting = _measured_trials(configs, costs, seed)[::-1]
    played = SimulatedSweep(rungs={rung: RungCounts() for rung in (() if rungs is None else rungs.values)})
    ready: dict[Hashable, float] = {(number % machines, key): 0.0 for number, key in enumerate(stored)}
    known: list[set[Hashable]] = [set() for _ in range(at_once)]
    events: list[tuple[float, int, _Trial]] = []  # time at which the epoch of each worker's trial ends

    def go_on(now: float, worker: int, trial: "_Trial") -> None:
        epoch = trial.epochs[trial.done]
        if epoch.phase is not None:
            if epoch.kind not in known[worker]:
                known[worker].add(epoch.kind)
                now += epoch.phase.cost.prepare
            if epoch.phase.features:
                # The first trial of each machine computes the features; others that need them meanwhile wait.
                there = worker % machines, epoch.phase.features_key
                now = max(now, ready.setdefault(there, now + epoch.phase.features))
        heapq.heappush(events, (now + epoch.seconds, worker, trial))

    def begin(now: float, worker: int) -> None:
        if waiting:
            trial = waiting.pop()
            trial.began = now
            go_on(now + trial.start, worker, trial)

    for worker in range(at_once):
        begin(0.0, worker)
    while events:
        now, worker, trial = heapq.heappop(events)
        trial.done += 1
        if trial.done < len(trial.epochs) and _keeps(trial, rungs, played):
            go_on(now, worker, trial)
            continue
        played.seconds = now
        played.busy += now - trial.began
        played.epochs += trial.done
        begin(now, worker)
    return played


def _measured_trials(configs: Sequence[TrialConfig], costs: CostModel, seed: int) -> list["_Trial"]:
    chance = random.Random(seed)
    trials = (_Trial(f"{n:04d}", config, costs.phases(config), chance.random()) for n, config in enumerate(configs))
    return [trial for trial in trials if trial.epochs]


def _keeps(trial: "_Trial", rungs: Rungs | None, played: SimulatedSweep) -> bool:
    if rungs is None:
        return True
    continues = rungs.continues(trial.result)
    for number, passed in rungs.passed.items():
        if passed.get(trial.name) == trial.done:
            rung = played.rungs[number]
            rung.reached += 1
            rung.unjudged += trial.name not in rungs.values[number]
            rung.stopped += not continues
    return continues


@dataclass(frozen=True)
class _Epoch:
    seconds: float
    phase: TrialPhase | None
    """Phase that begins with this epoch, and so must be prepared before it; else None."""

    @property
    def kind(self) -> Hashable:
        assert self.phase is not None
        return self.phase.cost.config.architecture, self.phase.stages


class _Trial:
    def __init__(self, name: str, config: TrialConfig, phases: Sequence[TrialPhase] | None, score: float) -> None:
        self.name = name
        self.epochs = list(_epochs(phases or ()))
        self.start = phases[0].cost.start if phases else 0.0
        self.done = 0
        self.began = 0.0
        metrics: dict[str, float] = {config.objective.metric: score}
        # Without validation, which costs time for nothing: there may be many thousands of reports.
        self._reports = [
            EpochReport.model_construct(epoch=number, metrics=metrics, seconds=0.0, checkpoint="best", ended_by=None)
            for number in range(1, config.epochs + 1)
        ]
        self._result = TrialResult.model_construct(trial_id=name, config=config, parameters={}, reports=())

    @property
    def result(self) -> TrialResult:
        """Trial in its current state."""
        return self._result.model_copy(update={"reports": tuple(self._reports[: self.done])})


def _epochs(phases: Sequence[TrialPhase]) -> Iterator[_Epoch]:
    for phase in phases:
        yield _Epoch(phase.epoch, phase)
        yield from [_Epoch(phase.epoch, None)] * (phase.epochs - 1)

"""Calibration: cost of the phases of a sweep on this machine, each in its own process, for its own peak of memory.

As many phases are measured side by side as trials will run, so that they compete for the machine as trials do.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator.planning.cost_model import COSTLY, CostModel, PhaseKind, phase_kind
from orchestrator.planning.subprocess_runner import Runner
from orchestrator.spec.sections import Resources
from search_spaces.errors import InvalidInput, OutOfMemory
from trainables.config import TrialConfig
from trainables.estimate.phase_cost import ImageSample, PhaseCost, measure_phase
from trainables.model.freeze_plan import Stages, freeze_plan

Done = Callable[[int, int, str], None]


@dataclass(frozen=True)
class PhaseProblem:
    """PhaseProblem: a phase that could not be measured, and that no trial can complete."""

    architecture: str
    stages: Stages
    message: str
    of_memory: bool
    """True where its trials end as PRUNED_OOM; for any other problem the sweep is refused before it begins."""


@dataclass(frozen=True)
class PhaseRequest:
    """PhaseRequest: a phase to measure: `config` while `stages` stages train."""

    config: TrialConfig
    stages: Stages


def calibrate(
    configs: list[TrialConfig],
    probes: Sequence[TrialConfig],
    resources: Resources,
    sample: ImageSample,
    runner: Runner,
    side_by_side: int,
    done: Done,
) -> tuple[CostModel, list[PhaseProblem]]:
    """Measure every phase of `configs`, the corners of a space, and of its linear probes.

    `done(number, of, what)` is called after each. A sweep does without a probe that fails, so it is no problem.
    """
    requests = _requests([*configs, *probes])
    variants = _variants(requests, configs)
    wanted = list(dict.fromkeys([*requests.values(), *variants.values()]))
    found: dict[PhaseRequest, PhaseCost | PhaseProblem] = {}
    with ThreadPoolExecutor(side_by_side) as pool:
        for request, result in zip(
            wanted, pool.map(partial(_measured, runner, sample, resources.threads), wanted), strict=True
        ):
            found[request] = result
            done(len(found), len(wanted), f"{request.config.architecture}, stages {request.stages}")
    costs = {request: cost for request, cost in found.items() if isinstance(cost, PhaseCost)}
    measured = {kind: costs[request] for kind, request in requests.items() if request in costs}
    effects: dict[str, dict[Any, PhaseCost]] = {}
    for (setting, value), request in variants.items():
        if request in costs:
            effects.setdefault(setting, {})[value] = costs[request]
    problems = dict.fromkeys(
        problem
        for request, problem in found.items()
        if isinstance(problem, PhaseProblem) and request.config not in probes
    )
    return CostModel(sample.counts, resources.workers, measured, effects), list(problems)


def _requests(configs: Iterable[TrialConfig]) -> dict[PhaseKind, PhaseRequest]:
    requests: dict[PhaseKind, PhaseRequest] = {}
    for config in configs:
        for stages in freeze_plan(config).boundaries.values():
            requests.setdefault(phase_kind(config, stages), PhaseRequest(config, stages))
    return requests


def _variants(
    requests: Mapping[PhaseKind, PhaseRequest], configs: list[TrialConfig]
) -> dict[tuple[str, Any], PhaseRequest]:
    """Return one phase that trains on images, under every value of every costly setting that varies."""
    base = next((request for kind, request in requests.items() if not kind.on_features), None)
    if base is None:
        return {}
    values = {name: dict.fromkeys(getattr(config, name) for config in configs) for name in COSTLY}
    return {
        (name, value): PhaseRequest(base.config.model_copy(update={name: value}), base.stages)
        for name, own in values.items()
        if len(own) > 1
        for value in own
    }


def _measured(runner: Runner, sample: ImageSample, threads: int, request: PhaseRequest) -> PhaseCost | PhaseProblem:
    config, stages = request.config, request.stages
    problem = partial(PhaseProblem, config.architecture, stages)
    try:
        return runner(measure_phase, config, stages, sample, threads)
    except BrokenProcessPool:
        killed = "its process was ended by the system, most likely for lack of memory; set a smaller batch_size"
        return problem(killed, of_memory=True)
    except OutOfMemory as error:
        return problem(str(error), of_memory=True)
    except InvalidInput as error:
        return problem(str(error), of_memory=False)
    except Exception as error:  # Timm and torch raise errors of any type for a model that they cannot make or run.
        return problem(f"{type(error).__name__}: {error}", of_memory=False)

"""Machine: cores, memory and GPUs for trials, and how many trials fit at once."""

from dataclasses import dataclass

import torch

from orchestrator.cluster.capacity import fitting, trial_bundles
from orchestrator.cluster.limits import allowed_cores, allowed_memory
from orchestrator.spec.sections import Resources

# Ray ends processes when a node has less left; what the driver and Ray itself need is of the rest.
USABLE = 0.95
# What Ray and W&B take of a worker's memory besides; measured: 97 MiB.
WORKER_OVERHEAD = 100 * 2**20


@dataclass(frozen=True)
class Machine:
    """This machine, as far as this process may use it."""

    cores: int
    memory: int
    """Bytes."""

    gpus: int
    gpu: str | None
    """Name of the first one."""

    gpu_memory: int
    """Bytes of the first one; 0 without."""


@dataclass(frozen=True)
class ConcurrentTrials:
    """How many trials run at once, and what allows how many."""

    trials: int
    by_cores: int
    by_gpus: int | None
    """None where trials use none."""

    by_memory: int | None
    """None where nothing could be measured; 0 where not even one fits."""

    by_setting: int | None
    """`resources.concurrent`; None: auto."""


def this_machine() -> Machine:
    """Look at cores, memory and GPUs, within the limits of a container."""
    gpus = torch.cuda.device_count()
    properties = torch.cuda.get_device_properties(0) if gpus else None
    return Machine(
        cores=allowed_cores(),
        memory=allowed_memory(),
        gpus=gpus,
        gpu=None if properties is None else properties.name,
        gpu_memory=0 if properties is None else properties.total_memory,
    )


def at_once(resources: Resources, machine: Machine, peak: int | None = None) -> ConcurrentTrials:
    """How many trials Ray will run at once. `peak` is what the largest takes, in bytes: Ray does not know it.

    So too little memory does not lower the number of trials; whoever asks has to say so.
    """
    by_cores = _by(resources, "CPU", machine.cores)
    by_gpus = _by(resources, "GPU", machine.gpus) if resources.gpus_per_worker else None
    fits = max(1, min(by_cores, by_cores if by_gpus is None else by_gpus))
    return ConcurrentTrials(
        trials=min(fits, resources.concurrent or fits),
        by_cores=by_cores,
        by_gpus=by_gpus,
        by_memory=None if peak is None else _by_memory(resources, machine, peak),
        by_setting=resources.concurrent,
    )


def worker_memory(resources: Resources, machine: Machine) -> int:
    """The most that a worker may take, in bytes: of its share of a GPU, or of the machine where there is none."""
    if not machine.gpus:
        return int(machine.memory * USABLE)
    return int(machine.gpu_memory / max(1, int(1 / (resources.gpus_per_worker or 1))))


def _by(resources: Resources, name: str, there: float) -> int:
    """What one of the resources allows, counted as a sweep counts it."""
    bundles = [{name: bundle.get(name, 0)} for bundle in trial_bundles(resources)]
    return fitting(bundles, [{name: there}])


def _by_memory(resources: Resources, machine: Machine, peak: int) -> int:
    if not machine.gpus:
        return int(machine.memory * USABLE / peak) // resources.workers
    return machine.gpus * (machine.gpu_memory // peak) // resources.workers

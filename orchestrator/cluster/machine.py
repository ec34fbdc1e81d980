"""Machine: cores, memory and GPUs for trials, and how many trials fit at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from orchestrator.cluster.capacity import Bundle, fitting, trial_bundles
from orchestrator.cluster.limits import allowed_cores, allowed_memory
from orchestrator.spec.sections import Resources

# Ray ends processes when a node has less left; the rest covers the driver and Ray itself.
USABLE = 0.95
# Memory of the actor in front of the process that trains; measured: 115 MiB.
WORKER_OVERHEAD = 115 * 2**20


@dataclass(frozen=True)
class Machine:
    """Machine: cores, memory and GPUs that this process may use."""

    cores: int
    memory: int
    """Memory in bytes."""

    gpus: int
    gpu: str | None
    """Name of the first GPU."""

    gpu_memory: int
    """Memory of the first GPU in bytes; 0 without a GPU."""

    @property
    def node(self) -> Bundle:
        """Resources that it offers as a node of Ray."""
        return {"CPU": self.cores, "GPU": self.gpus}


@dataclass(frozen=True)
class ConcurrentTrials:
    """ConcurrentTrials: number of trials that run at once, and the number that each resource allows."""

    trials: int
    by_cores: int
    by_gpus: int | None
    """Number that the GPUs allow; None where trials use none."""

    by_memory: int | None
    """Number that the memory allows; None where nothing could be measured; 0 where not even one fits."""

    by_setting: int | None
    """Number from `resources.concurrent`; None: auto."""


def this_machine() -> Machine:
    """Return cores, memory and GPUs, within the limits of a container."""
    gpus = torch.cuda.device_count()
    properties = torch.cuda.get_device_properties(0) if gpus else None
    return Machine(
        cores=allowed_cores(),
        memory=allowed_memory(),
        gpus=gpus,
        gpu=None if properties is None else properties.name,
        gpu_memory=0 if properties is None else properties.total_memory,
    )


def at_once(
    resources: Resources, machine: Machine, peak: int | None = None, nodes: Sequence[Bundle] | None = None
) -> ConcurrentTrials:
    """Return how many trials Ray will run at once on `nodes`, by default on `machine` alone.

    Each node has the memory of `machine`. `peak`, in bytes, is the memory of the largest trial; Ray ignores it. So too
    little memory does not lower the number of trials; the caller must warn of it.
    """
    nodes = [machine.node] if nodes is None else nodes
    machines = max(1, len(with_room(resources, nodes)))
    by_cores = _by(resources, "CPU", nodes)
    by_gpus = _by(resources, "GPU", nodes) if resources.gpus_per_worker else None
    fits = max(1, fitting(trial_bundles(resources), nodes))
    return ConcurrentTrials(
        trials=min(fits, resources.concurrent or fits),
        by_cores=by_cores,
        by_gpus=by_gpus,
        by_memory=None if peak is None else _by_memory(resources, machine, peak, machines),
        by_setting=resources.concurrent,
    )


def with_room(resources: Resources, nodes: Sequence[Bundle]) -> list[Bundle]:
    """Return the nodes on which a worker of a trial fits."""
    return [node for node in nodes if fitting(trial_bundles(resources)[:1], [node])]


def worker_memory(resources: Resources, machine: Machine) -> int:
    """Return the bytes that a worker may take: of its share of a GPU, or of the machine where there is none."""
    if not machine.gpus:
        return int(machine.memory * USABLE)
    return int(machine.gpu_memory / max(1, int(1 / (resources.gpus_per_worker or 1))))


def _by(resources: Resources, name: str, nodes: Sequence[Bundle]) -> int:
    """Return the number of trials that one of the resources allows, counted as a sweep counts it."""
    bundles = [{name: bundle.get(name, 0)} for bundle in trial_bundles(resources)]
    return fitting(bundles, [{name: node.get(name, 0)} for node in nodes])


def _by_memory(resources: Resources, machine: Machine, peak: int, machines: int) -> int:
    if not machine.gpus:
        return machines * int(machine.memory * USABLE / peak) // resources.workers
    return machines * machine.gpus * (machine.gpu_memory // peak) // resources.workers

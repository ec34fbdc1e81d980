"""NodeRunner: calls functions on one node of the joined cluster, each in a process of its own."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster.capacity import Bundle, node_text, trial_bundles
from orchestrator.cluster.machine import Machine, this_machine, with_room
from orchestrator.cluster.node_checks import TIMEOUT, RayNode, living_nodes, node_name
from orchestrator.spec.sections import Resources
from search_spaces.errors import InvalidInput

_P = ParamSpec("_P")
_R = TypeVar("_R")


class NodeRunner:
    """NodeRunner: calls functions on a node with the resources of a worker, each in a process of its own."""

    def __init__(self, module: str, resources: Resources) -> None:
        """Choose the first node on which a worker fits, and import `module` there once.

        Raises InvalidInput where no node has room for a worker, the room is taken, or `module` cannot be imported.
        """
        found = living_nodes()
        self.nodes: tuple[Bundle, ...] = tuple(node["Resources"] for node in found)
        node = _first_with_room(found, resources)
        self.node: Bundle = node["Resources"]
        self.name = node_name(node)
        remote: Any = ray.remote  # its types know no scheduling on a node
        self._remote = remote(
            num_cpus=resources.cpus_per_worker,
            num_gpus=resources.gpus_per_worker,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            max_calls=1,  # its process ends with the call
            max_retries=0,
        )
        began = time.perf_counter()
        try:
            machine = self._call(TIMEOUT, _import_and_look, module)
        except ray.exceptions.GetTimeoutError:
            raise InvalidInput(
                f"--address: node {self.name} must have {_wanted(resources)} free, got nothing free within "
                f"{TIMEOUT:.0f} s; plan when what runs there has ended"
            ) from None
        except Exception as error:  # Without Thaw, or with another one, a node raises errors of any type.
            raise InvalidInput(
                f"--address: node {self.name} must be able to run trials, got {str(error).strip().splitlines()[-1]}; "
                "`thaw doctor --address` says what each node lacks"
            ) from error
        self.imports = time.perf_counter() - began
        # Ray may have been told of fewer cores than there are. A process sees its own GPU alone, or none.
        gpus = int(self.node.get("GPU", 0)) if machine.gpus else 0
        self.machine = replace(machine, cores=int(self.node.get("CPU", 0)), gpus=gpus)

    def __call__(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call `function` on the node; return its result or raise its error, BrokenProcessPool if it was killed."""
        return self._call(None, function, *args, **kwargs)

    def _call(self, timeout: float | None, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            result: _R = ray.get(self._remote(function).remote(*args, **kwargs), timeout=timeout)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise BrokenProcessPool(str(error)) from error
        return result


def _first_with_room(found: Sequence[RayNode], resources: Resources) -> RayNode:
    for node in found:
        if with_room(resources, [node["Resources"]]):
            return node
    there = "; ".join(node_text(node["Resources"]) for node in found)
    raise InvalidInput(
        f"--address: a node must have room for a worker of a trial ({_wanted(resources)}), got {there}; start such a "
        "node first, or plan on a machine like it, without --address: `--nodes 8` plans for eight of them"
    )


def _wanted(resources: Resources) -> str:
    return node_text(trial_bundles(resources)[0])


def _import_and_look(module: str) -> Machine:
    """Import the packages that training needs; return the machine on which this runs."""
    import_module(module)
    return this_machine()

"""Site: machines that a sweep is planned for."""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.cluster.capacity import Bundle, node_kind, node_text
from orchestrator.cluster.machine import Machine, with_room
from orchestrator.planning.price import HourlyPrice
from orchestrator.spec.sections import Resources
from search_spaces.errors import InvalidInput


@dataclass(frozen=True)
class Site:
    """Site: machines of a sweep, of which one is measured."""

    machine: Machine
    """Machine that is measured."""

    nodes: tuple[Bundle, ...]
    """Resources of every machine, by Ray's names."""

    node_name: str | None = None
    """Name of the node that is measured; None: this machine."""

    price: HourlyPrice | None = None
    """Price of a device; None where there is none."""

    def rented(self, resources: Resources) -> tuple[int, str]:
        """Return the number and the name of the devices that are paid for, whether they work or wait.

        They are the GPUs of all machines where trials use GPUs, else the machines.
        """
        if resources.gpus_per_worker:
            return int(sum(node.get("GPU", 0) for node in self.nodes)), "GPU"
        return len(self.nodes), "machine"

    def check_price(self, resources: Resources) -> None:
        """Raise InvalidInput for a price per hour of GPUs where there are none."""
        if self.price is not None and not self.rented(resources)[0]:
            raise InvalidInput(
                "--price: is per hour of a GPU where trials use GPUs (resources.gpus_per_worker: "
                f"{resources.gpus_per_worker:g}), got machines without a GPU; plan on a machine like those to rent, or "
                "on a node of their cluster with --address"
            )

    def warnings(self, resources: Resources) -> Iterator[str]:
        """Yield a warning for trials on GPUs that are not measured, and for nodes of several kinds, of which one is."""
        if resources.gpus_per_worker and not self.machine.gpus:
            yield (
                f"trials use GPUs (resources.gpus_per_worker: {resources.gpus_per_worker:g}), and the machine that is "
                "measured has none: all times and memory are those of its cores; plan on a machine with such GPUs"
            )
        kinds = {node_kind(node): node_text(node) for node in with_room(resources, self.nodes)}
        if len(kinds) > 1:
            yield (
                f"the nodes differ ({'; '.join(sorted(kinds.values()))}): all times are those of {self.node_name}, "
                "and trials on slower nodes take longer"
            )

import pytest

from orchestrator.cluster.machine import Machine
from orchestrator.planning.price import read_price
from orchestrator.planning.site import Site
from orchestrator.spec.sections import Resources
from search_spaces.errors import InvalidInput

GPUS = Machine(cores=16, memory=2**36, gpus=4, gpu="H100", gpu_memory=2**36)
CORES = Machine(cores=16, memory=2**36, gpus=0, gpu=None, gpu_memory=0)
HEAD = {"CPU": 0.0}


@pytest.mark.parametrize(
    ("machine", "gpus_per_worker", "rented"),
    [(GPUS, 1, (8, "GPU")), (GPUS, 0.5, (8, "GPU")), (GPUS, 0, (3, "machine")), (CORES, 0, (3, "machine"))],
)
def test_gpus_are_rented_where_trials_use_them_else_machines(
    machine: Machine, gpus_per_worker: float, rented: tuple[int, str]
) -> None:
    site = Site(machine, (HEAD, machine.node, machine.node))
    assert site.rented(Resources(gpus_per_worker=gpus_per_worker)) == rented


def test_a_price_of_gpus_that_are_not_there_is_refused() -> None:
    site = Site(CORES, (CORES.node,), price=read_price("1.20/h"))
    site.check_price(Resources())
    with pytest.raises(InvalidInput, match=r"per hour of a GPU .*gpus_per_worker: 0\.5\), got machines without a GPU"):
        site.check_price(Resources(gpus_per_worker=0.5))


def test_times_of_cores_are_not_taken_for_those_of_gpus() -> None:
    (told,) = Site(CORES, (CORES.node,)).warnings(Resources(gpus_per_worker=1))
    assert told.startswith("trials use GPUs (resources.gpus_per_worker: 1), and the machine that is measured has none")


def test_nodes_that_differ_are_told_of_as_far_as_trials_run_there() -> None:
    node = {"CPU": 8.0, "GPU": 1.0, "memory": 1e9, "node:10.0.0.2": 1.0, "accelerator_type:H100": 1.0}
    like = {**node, "memory": 2e9, "node:10.0.0.3": 1.0}
    assert [*Site(GPUS, (HEAD, node, like), "10.0.0.2 (a)").warnings(Resources(gpus_per_worker=1))] == []
    other = {"CPU": 8.0, "GPU": 1.0, "accelerator_type:A100": 1.0}
    (told,) = Site(GPUS, (HEAD, node, other), "10.0.0.2 (a)").warnings(Resources(gpus_per_worker=1))
    assert told.startswith("the nodes differ (8 CPU and 1 GPU A100; 8 CPU and 1 GPU H100): all times are those of 10.0")

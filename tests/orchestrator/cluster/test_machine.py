import pytest

from orchestrator.cluster.machine import Machine, at_once, this_machine, worker_memory
from orchestrator.spec.sections import Resources

GIB = 2**30
LAPTOP = Machine(cores=8, memory=20 * GIB, gpus=0, gpu=None, gpu_memory=0)
SERVER = Machine(cores=32, memory=200 * GIB, gpus=4, gpu="H100", gpu_memory=80 * GIB)


@pytest.mark.parametrize(
    ("resources", "machine", "trials"),
    [
        ({}, LAPTOP, 8),
        ({"cpus_per_worker": 3}, LAPTOP, 2),
        ({"cpus_per_worker": 16}, LAPTOP, 1),
        ({"concurrent": 2}, LAPTOP, 2),
        ({"concurrent": 20}, LAPTOP, 8),
        ({"gpus_per_worker": 1}, SERVER, 4),
        ({"gpus_per_worker": 0.5}, SERVER, 8),
        ({"gpus_per_worker": 0.6}, SERVER, 4),  # what is left of two GPUs is not another one
        ({"gpus_per_worker": 0.25, "cpus_per_worker": 4}, SERVER, 8),
    ],
)
def test_as_many_trials_run_as_fit(resources: dict[str, float], machine: Machine, trials: int) -> None:
    assert at_once(Resources.model_validate(resources), machine).trials == trials


def test_memory_limits_nothing_but_is_told() -> None:
    fitting = at_once(Resources(), LAPTOP, peak=4 * GIB)
    assert (fitting.trials, fitting.by_cores, fitting.by_gpus, fitting.by_memory) == (8, 8, None, 4)
    assert at_once(Resources(gpus_per_worker=0.5), SERVER, peak=30 * GIB).by_memory == 8
    assert at_once(Resources(gpus_per_worker=0.5), SERVER, peak=90 * GIB).by_memory == 0
    assert at_once(Resources(cpus_per_worker=16), LAPTOP, peak=4 * GIB).by_memory == 4, "whatever the cores let"


def test_trials_fit_on_the_nodes_of_a_cluster_one_by_one() -> None:
    head, node = {"CPU": 64.0}, SERVER.node
    on_gpus = at_once(Resources(gpus_per_worker=1, cpus_per_worker=4), SERVER, 30 * GIB, [head, node, node])
    assert (on_gpus.trials, on_gpus.by_cores, on_gpus.by_gpus, on_gpus.by_memory) == (8, 32, 8, 16)
    assert at_once(Resources(workers=3, gpus_per_worker=1), SERVER, None, [node, node]).trials == 2
    assert at_once(Resources(cpus_per_worker=5), LAPTOP, None, [LAPTOP.node] * 3).trials == 3
    assert at_once(Resources(concurrent=2), LAPTOP, None, [LAPTOP.node] * 3).trials == 2


def test_who_shares_a_gpu_has_a_share_of_its_memory() -> None:
    assert worker_memory(Resources(gpus_per_worker=0.25), SERVER) == 20 * GIB
    assert worker_memory(Resources(gpus_per_worker=1), SERVER) == 80 * GIB
    assert worker_memory(Resources(), LAPTOP) == 19 * GIB


def test_this_machine_has_something_to_offer() -> None:
    found = this_machine()
    assert found.cores >= 1
    assert found.memory > GIB
    assert (found.gpu is None) == (found.gpus == 0)

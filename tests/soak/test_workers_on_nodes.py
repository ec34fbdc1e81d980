"""A trial's workers on several nodes, each a raylet of its own on this machine, one of which is lost."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from analysis.ledger import Ledger
from orchestrator.cluster.capacity import fitting
from orchestrator.cluster.runtime import nodes_now
from orchestrator.driver.sweep import run_sweep
from orchestrator.spec.loading import load
from orchestrator.spec.sections import Resources
from orchestrator.tracking.observer import TrialCallback
from orchestrator.tuner.tuner import placement
from trainables.result import TrialResult
from trainables.status import Status

pytestmark = [pytest.mark.soak, pytest.mark.seconds(100)]

TRIAL = {"architecture": "test_convnext", "strategy": "full", "epochs": 8, "optimizer": "sgd"}


@pytest.fixture
def cluster(cache_dir: Path) -> Iterator[Any]:
    """A head without cores, and two nodes with one each."""
    ray.shutdown()  # other tests may have connected this process
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        cluster.workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
        ray.init(address=cluster.address, namespace="thaw", log_to_driver=False, configure_logging=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_workers_on_two_nodes_go_on_when_one_is_lost(
    cluster: Any, write_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    for size, fits in (({"workers": 2}, 1), ({"workers": 1}, 2), ({"cpus_per_worker": 2}, 0)):
        assert fitting(placement(Resources.model_validate(size)).bundles, nodes_now()) == fits
    lost: list[str] = []

    def lose(trial: TrialResult) -> None:
        if len(trial.reports) >= 2 and not lost:
            lost.append(trial.trial_id)
            cluster.remove_node(cluster.workers[1], allow_graceful=False)
            cluster.add_node(num_cpus=1)

    common = {"trial": TRIAL, "space": {"lr": {"choice": [0.001]}}, "search": {"trials": 1, "points": [{"lr": 0.001}]}}
    resources = {"workers": 2, "placement": "spread"}
    two = run_sweep(
        load(write_sweep(tmp_path, name="two", resources=resources, **common)), observers=[TrialCallback(lose)]
    )
    one = run_sweep(load(write_sweep(tmp_path, name="one", **common)))
    (ours,), (theirs,) = (Ledger(outcome.run).trials() for outcome in (two, one))
    assert lost == ["0000"]
    assert ours.status is theirs.status is Status.COMPLETED
    log = two.run.log("0000").read_text()
    assert log.count(" trial 0000: ") == 2
    assert "resumed after epoch " in log
    for mine, yours in zip(ours.reports, theirs.reports, strict=True):
        assert mine.metrics == pytest.approx(yours.metrics, rel=1e-4)

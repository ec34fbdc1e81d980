"""Retraining with two workers on two nodes, each a raylet of its own on this machine, one of which is lost."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from analysis.ledger import Ledger
from analysis.run_store import RunStore
from orchestrator.cluster import runtime
from orchestrator.driver.retrain import retrain_winner
from orchestrator.driver.sweep import run_sweep
from orchestrator.spec.loading import load
from orchestrator.spec.sections import Resources
from orchestrator.worker.lone_training import train_alone
from orchestrator.worker.retraining import Retraining, begin_retraining, measure_retraining
from trainables.config import TrialConfig
from trainables.loop.train import train
from trainables.result import EpochReport, TrialResult
from trainables.storage.folders import TrialFolders
from trainables.storage.place import as_place

pytestmark = [pytest.mark.soak, pytest.mark.seconds(90)]

EPOCHS = 6
# Without BatchNorm, which normalizes by each rank's own share of a batch.
TRIAL = {"architecture": "test_convnext", "strategy": "full", "epochs": EPOCHS, "optimizer": "sgd"}
RESOURCES = {"workers": 2, "placement": "spread"}


class Loss:
    """Loss of one of two nodes after the second epoch of a training; another one joins."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        self.epochs: list[int] = []

    def __call__(self, report: EpochReport) -> None:
        """Called with each epoch."""
        self.epochs.append(report.epoch)
        if report.epoch == 2:
            self.cluster.remove_node(self.nodes[1], allow_graceful=False)
            self.cluster.add_node(num_cpus=1)


@pytest.fixture
def loss(bucket: str, cache_dir: Path) -> Iterator[Loss]:
    """A head without cores and two nodes with one each, which know the way to the bucket."""
    ray.shutdown()  # where other tests have connected this process, the training would run there
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield Loss(cluster)
    finally:
        cluster.shutdown()


def test_the_winner_is_trained_on_the_cluster_as_its_trial_was(
    loss: Loss, write_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    space = {"lr": {"choice": [0.001]}}
    file = write_sweep(tmp_path, trial=TRIAL, space=space, search={"trials": 1}, resources=RESOURCES)
    run = run_sweep(load(file), address=loss.cluster.address).run
    (trial,) = Ledger(run).trials()
    retrained = retrain_winner(run.root, loss, address=loss.cluster.address)
    assert loss.epochs == [*range(1, EPOCHS + 1)]
    assert retrained.test is not None
    log = run.log("retrain").read_text()
    assert "resumed after epoch 2" in log
    assert log.count(" rank 1 of 2 on ") == 2
    recorded = retrained_metrics(run.winner)
    assert recorded == [pytest.approx(report.metrics, rel=1e-5) for report in trial.reports]


def test_a_run_in_a_bucket_needs_no_folder_that_both_nodes_see(
    loss: Loss, bucket: str, digits: Path, cache_dir: Path, tmp_path: Path
) -> None:
    data = {"root": digits, "image_size": 32, "resize_mode": "squash"}
    config = TrialConfig.model_validate({**TRIAL, "data": data, "weights": "none", "lr": 0.001, "batch_size": 64})
    trial = TrialResult(trial_id="retrain", config=config, parameters={})
    resources = Resources.model_validate(RESOURCES)
    run = as_place(f"{bucket}/runs/sweep")
    assignment = Retraining(trial=trial, run=run, cache=cache_dir, resources=resources)
    folder = tmp_path / "driver"
    folder.mkdir()
    reports = []
    with runtime.connected(folder, address=loss.cluster.address):
        for report in train_alone(assignment, begin_retraining):
            reports.append(report)
            loss(report)
    assert loss.epochs == [*range(1, EPOCHS + 1)]
    assert all(RunStore(assignment.run_folder).has(place) for place in assignment.files)
    alone = list(train(config, TrialFolders(tmp_path / "checkpoints", tmp_path / "predictions.parquet", cache_dir)))
    for ours, theirs in zip(reports, alone, strict=True):
        assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-4)
    assert measure_retraining(assignment, "test").split == "test"


def retrained_metrics(winner: Any) -> list[dict[str, float]]:
    """The metrics of each epoch of a retraining."""
    return [report["metrics"] for report in json.loads((winner / "retrain.json").read_text())["reports"]]

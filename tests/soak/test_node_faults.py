"""Nodes that are taken away while trials run on them: nothing is lost, nothing is done twice."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from analysis.ledger import Ledger
from orchestrator.driver.sweep import run_sweep
from orchestrator.spec.loading import load
from orchestrator.tracking.observer import TrialCallback
from trainables.result import TrialResult
from trainables.status import Status

pytestmark = [pytest.mark.soak, pytest.mark.seconds(140)]

EPOCHS = 3


@pytest.fixture
def cluster(cache_dir: Path) -> Iterator[Cluster]:
    """A head that runs no trials; the workers are up to the test."""
    assert not ray.is_initialized(), "the sweep would run where this process is connected"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


class Reaper:
    """Kills a random worker node, as a machine that is switched off, at seeded moments after completed epochs."""

    def __init__(self, cluster: Cluster, kills: int, seed: int, *, replace: bool) -> None:
        self.cluster, self.kills, self.replace = cluster, kills, replace
        self.rng = random.Random(seed)
        self.done = 0
        self._epochs: dict[str, int] = {}
        self._wait = self.rng.randint(1, 6)

    def __call__(self, trial: TrialResult) -> None:
        """Called by the sweep with every change of a trial."""
        if len(trial.reports) <= self._epochs.get(trial.trial_id, 0):
            return
        self._epochs[trial.trial_id] = len(trial.reports)
        self._wait -= 1
        if self._wait > 0 or self.done == self.kills:
            return
        self.cluster.remove_node(self.rng.choice(list(self.cluster.worker_nodes)), allow_graceful=False)
        if self.replace:
            self.cluster.add_node(num_cpus=1)
        self.done += 1
        self._wait = self.rng.randint(1, 12)


def test_five_nodes_of_three_are_taken_and_replaced(cluster: Cluster, write_sweep: Callable[..., Path], tmp_path: Path):
    for _ in range(3):
        cluster.add_node(num_cpus=1)
    reaper = Reaper(cluster, kills=5, seed=0, replace=True)
    trials = swept(cluster, write_sweep, tmp_path / "disturbed", reaper, search={"trials": 24, "sampler": "random"})
    assert reaper.done == 5
    points = [trial.parameters for trial in trials]
    undisturbed = swept(cluster, write_sweep, tmp_path / "calm", search={"trials": 24, "points": points})
    assert [trial.parameters for trial in undisturbed] == points
    assert [metrics(trial) for trial in trials] == [metrics(trial) for trial in undisturbed]


def test_one_of_two_workers_is_taken_for_good(cluster: Cluster, write_sweep: Callable[..., Path], tmp_path: Path):
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    reaper = Reaper(cluster, kills=1, seed=1, replace=False)
    trials = swept(cluster, write_sweep, tmp_path, reaper, search={"trials": 4, "sampler": "random"})
    assert reaper.done == 1
    logs = [(tmp_path / "runs" / "sweep" / "logs" / f"{trial.trial_id}.log").read_text() for trial in trials]
    # None where the trial on that node had not completed an epoch yet.
    assert sum("resumed after epoch" in log for log in logs) <= 1


def swept(
    cluster: Cluster,
    write_sweep: Callable[..., Path],
    folder: Path,
    progress: Callable[[TrialResult], None] = lambda _trial: None,
    **sections: object,
) -> list[TrialResult]:
    """The trials of a sweep on the cluster, all of them complete and each in the ledger once."""
    folder.mkdir(exist_ok=True)
    trial = {"architecture": "test_efficientnet", "strategy": "full", "epochs": EPOCHS}
    file = write_sweep(folder, trial=trial, resources={"concurrent": "auto"}, **sections)
    outcome = run_sweep(load(file), observers=[TrialCallback(progress)], address=cluster.address)
    trials = Ledger(outcome.run).trials()
    assert [trial.trial_id for trial in trials] == [f"{number:04d}" for number in range(len(trials))]
    assert len(trials) == load(file).search.trials
    assert {trial.status for trial in trials} == {Status.COMPLETED}
    assert all([report.epoch for report in trial.reports] == list(range(1, EPOCHS + 1)) for trial in trials)
    return trials


def metrics(trial: TrialResult) -> list[dict[str, float]]:
    return [report.metrics for report in trial.reports]

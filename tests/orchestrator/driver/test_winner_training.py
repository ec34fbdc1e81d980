"""Retraining on a real Ray: what several workers compute, which of them may die, and where it is refused."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cluster.machine import Machine
from orchestrator.driver import winner_training
from orchestrator.driver.retrain import RetrainedWinner, retrain_winner
from orchestrator.driver.winner_training import TrainingHere, open_training
from orchestrator.spec.loading import load_run
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.data.arrays import load_arrays
from trainables.data.readers import open_dataset
from trainables.data_config import DataConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

pytestmark = pytest.mark.seconds(30)

# Without BatchNorm, which normalizes by each rank's own share of a batch.
SETTINGS: dict[str, Any] = {"architecture": "test_convnext", "weights": "none", "strategy": "full", "optimizer": "sgd"}
SETTINGS |= {"batch_size": 64, "epochs": 3, "lr": 0.001}


@pytest.fixture
def searched(
    tmp_path: Path,
    small_spec: Callable[..., SweepSpec],
    trial: Callable[..., TrialResult],
    empty_run: RunFolder,
    digits: Path,
    cache_dir: Path,
) -> Callable[..., RunFolder]:
    """Makes a run with one completed trial, whose trials had these resources."""

    def make(**resources: Any) -> RunFolder:
        spec = small_spec(tracking={"wandb": {"mode": "disabled"}}, resources=resources)
        empty_run.sweep_yaml.write_text(spec.to_yaml())
        data = {"root": digits, "image_size": 32, "resize_mode": "squash"}
        fingerprint = load_arrays(DataConfig.model_validate(data), cache_dir).fingerprints.trained
        Ledger(empty_run).update_run(fingerprint=fingerprint)
        Ledger(empty_run).write_trial(trial("0000", [0.4, 0.6, 0.5], Status.COMPLETED, data=data, **SETTINGS))
        return empty_run

    return make


def rank_pids(run: RunFolder) -> list[int]:
    """The processes of the ranks, in the order in which they began."""
    return [int(pid) for pid in re.findall(r"\[(\d+)\] INFO orchestrator: rank \d of 2 ", log_of(run))]


def log_of(run: RunFolder) -> str:
    log = run.log("retrain")
    assert isinstance(log, Path)
    return log.read_text()


def weights_of(retrained: RetrainedWinner) -> dict[str, torch.Tensor]:
    assert isinstance(retrained.checkpoint, Path)
    return load_file(retrained.checkpoint / "model.safetensors")


@pytest.mark.usefixtures("ray_here")
def test_two_workers_one_of_which_is_killed_compute_what_one_process_computes(
    searched: Callable[..., RunFolder],
    assert_nothing_is_left: Callable[[set[int]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = searched(workers=2)
    monkeypatch.chdir(run.root.parent)
    seen: list[int] = []

    def kill_one(report: EpochReport) -> None:
        seen.append(report.epoch)
        if report.epoch == 2:
            os.kill(rank_pids(run)[1], signal.SIGKILL)

    two = retrain_winner(Path(run.root.name), kill_one)  # the processes have another current folder
    assert seen == [1, 2, 3]
    assert len(rank_pids(run)) == 4
    assert_nothing_is_left({*rank_pids(run)})
    assert list(run.local.glob(".winner*.new*")) == []
    weights = weights_of(two)
    one = retrain_winner(searched(workers=1).root)
    assert len(rank_pids(run)) == 4, "one process needs no Ray"
    torch.testing.assert_close(weights, weights_of(one), rtol=0, atol=1e-5)
    assert two.test is not None
    assert one.test is not None
    assert two.test.metrics == pytest.approx(one.test.metrics, abs=1e-5)
    assert two.test.confusion == one.test.confusion


def test_workers_that_do_not_fit_here_are_one_process_after_a_warning(
    searched: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = searched(workers=2, gpus_per_worker=1)
    monkeypatch.setattr(winner_training, "this_machine", lambda: Machine(8, 2**30, 1, "H200", 2**30))
    dataset = open_dataset(Ledger(run).read_trial("0000").config.data.root)
    with open_training(load_run(run), run, dataset, None) as training:
        assert isinstance(training, TrainingHere)
    assert "had 2 workers, which do not fit on this machine: one process trains" in caplog.text


def test_with_an_address_that_cannot_be_used_nothing_is_changed(searched: Callable[..., RunFolder]) -> None:
    run = searched()
    assert isinstance(run.winner, Path)
    run.winner.mkdir()
    (run.winner / "kept").touch()
    before = Ledger(run).read_run()
    with pytest.raises(InvalidInput, match=r"^--address: "):
        retrain_winner(run.root, address="ray://head:10001")
    assert (run.winner / "kept").exists()
    assert Ledger(run).read_run() == before

"""Whole sweeps, in process: searches of several kinds, trials that fail, and processes that die."""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.preflight import preflight
from orchestrator.driver.sweep import SweepOutcome, run_sweep
from orchestrator.spec.loading import load
from search_spaces.errors import SweepFailed
from trainables.loop.train import train
from trainables.model.build import build_model
from trainables.result import TrialResult
from trainables.status import Status
from trainables.storage.folders import TrialFolders

pytestmark = pytest.mark.seconds(50)

Sweep = Callable[..., SweepOutcome]

ONE_AT_A_TIME = {"concurrent": 1}


def test_a_loss_is_minimised_by_random_search(sweep: Sweep):
    outcome = sweep(
        objective={"metric": "val/loss"},
        search={"trials": 3, "sampler": "random"},
        stopping={"asha": {"grace": 1, "reduction": 3}},
        resources=ONE_AT_A_TIME,
    )
    trials = Ledger(outcome.run).trials()
    assert len({trial.parameters["lr"] for trial in trials}) == 3
    winner = outcome.leaderboard.winner()
    assert winner.objective == min(trial.objective or 0 for trial in trials if trial.status is Status.COMPLETED)
    assert winner.objective == min(report.metrics["val/loss"] for report in winner.reports)
    study = open_study(outcome.run)
    assert study.direction is optuna.study.StudyDirection.MINIMIZE
    assert study.best_trial.user_attrs["trial_id"] == winner.trial_id


def test_a_failing_trial_is_told_and_the_sweep_goes_on(
    ray_here: None, write_sweep: Callable[..., Path], tmp_path: Path
):
    from safetensors.torch import save_file

    (tmp_path / "weights").mkdir()
    good, bad = "test_efficientnet", "test_resnet"
    for architecture in (good, bad):
        file = write_sweep(tmp_path, trial=small(architecture=architecture))
        model = build_model(load(file).trial_config({"lr": 1e-3}), 10)
        save_file(dict(model.state_dict()), tmp_path / "weights" / f"{architecture}.safetensors")
    file = write_sweep(
        tmp_path,
        data={**load(file).data.model_dump(mode="json", exclude_none=True), "weights_dir": "weights"},
        trial={"strategy": "full", "epochs": 1, "weights": "pretrained"},
        space={"architecture": {"choice": [bad, good]}, "lr": {"choice": [1e-3, 2e-3]}},
        search={"sampler": "grid", "trials": 4},
        resources=ONE_AT_A_TIME,
    )
    spec = load(file)
    arrays = preflight(spec)
    (tmp_path / "weights" / f"{bad}.safetensors").write_bytes(b"no longer weights")

    outcome = run_sweep(spec, arrays)

    tried = [(trial.config.architecture, trial.config.lr) for trial in Ledger(outcome.run).trials()]
    assert tried == [(bad, 1e-3), (bad, 2e-3), (good, 1e-3), (good, 2e-3)], "a grid runs every point, in order"
    failed = [entry for entry in outcome.leaderboard.entries if entry.trial.status is Status.FAILED]
    assert {entry.trial.config.architecture for entry in failed} == {bad}
    assert [entry.trial.status for entry in outcome.leaderboard.entries][:2] == [Status.COMPLETED] * 2
    assert len(failed) == 2
    for entry in failed:
        failure = entry.trial.failure
        assert failure is not None
        assert failure.message.startswith("InvalidInput: weights must be a .safetensors file, got ")
        assert "Traceback" in failure.traceback
        assert "read_weights" in failure.traceback
        log = (outcome.run.root / str(failure.log)).read_text()
        assert log.count(f"trial {entry.trial.trial_id}: ") == 1, "a deterministic error is not run again"
        assert log.count(" ERROR ") == 1
    assert Counter(asked.state.name for asked in open_study(outcome.run).trials) == {"COMPLETE": 2, "FAIL": 2}


def test_a_sweep_fails_when_every_trial_does(sweep: Sweep, tmp_path: Path):
    with pytest.raises(SweepFailed, match=r"no trial of .* completed") as caught:
        sweep(
            trial=small(epochs=2, optimizer="sgd", weight_decay=0.0),
            space={"lr": {"choice": [90.0, 100.0]}},
            search={"trials": 2, "sampler": "grid"},
            resources=ONE_AT_A_TIME,
        )
    assert caught.value.exit_code == 1
    assert "loss must be finite" in str(caught.value)
    trials = Ledger(RunFolder(tmp_path / "runs" / "sweep")).trials()
    assert [trial.status for trial in trials] == [Status.FAILED] * 2
    assert all("lower the learning rate" in trial.failure.message for trial in trials if trial.failure)


def test_a_trial_survives_the_death_of_its_process(sweep: Sweep, tmp_path: Path, cache_dir: Path):
    run = RunFolder(tmp_path / "runs" / "sweep")
    points = [{"lr": 0.002}, {"lr": 0.004}, {"lr": 0.004}]
    killed: list[int] = []

    def kill_once(trial: TrialResult) -> None:
        if len(trial.reports) >= 2 and not killed:
            killed.extend(worker_pids(run, trial.trial_id))
            os.kill(killed[0], signal.SIGKILL)

    search = {"trials": 3, "points": points}
    # A result has several epochs where they are short: by the time it is seen, the next ones have begun.
    outcome = sweep(kill_once, trial=small(epochs=12), search=search, resources=ONE_AT_A_TIME)

    assert not outcome.interrupted
    trials = Ledger(run).trials()
    assert [trial.parameters for trial in trials] == points, "exactly the given points run"
    assert [trial.status for trial in trials] == [Status.COMPLETED] * 3
    first, second, third = trials
    assert [report.epoch for report in first.reports] == list(range(1, 13))
    (epoch,) = re.findall(r"resumed after epoch (\d+)", run.log("0000").read_text())
    assert 2 <= int(epoch) < 12
    assert len(set(worker_pids(run, "0000"))) == 2
    undisturbed = alone(first, tmp_path / "alone", cache_dir)
    assert [report.metrics for report in first.reports] == undisturbed
    assert [report.metrics for report in second.reports] == [report.metrics for report in third.reports]


def test_a_process_that_dies_between_two_trials_costs_neither(sweep: Sweep, tmp_path: Path):
    run = RunFolder(tmp_path / "runs" / "sweep")
    killed: list[int] = []

    def kill_once(trial: TrialResult) -> None:
        if trial.status is Status.COMPLETED and not killed:
            killed.extend(worker_pids(run, trial.trial_id))
            os.kill(killed[0], signal.SIGKILL)

    search = {"trials": 3, "points": [{"lr": lr} for lr in (0.001, 0.002, 0.004)]}
    sweep(kill_once, trial=small(), search=search, resources=ONE_AT_A_TIME)
    assert [trial.status for trial in Ledger(run).trials()] == [Status.COMPLETED] * 3
    assert worker_pids(run, "0001") != killed


def alone(trial: TrialResult, folder: Path, cache: Path) -> list[dict[str, float]]:
    """The metrics of the same trial in this process, one thread as in a sweep, undisturbed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        folders = TrialFolders(folder, folder / "predictions.parquet", cache)
        return [report.metrics for report in train(trial.config, folders)]
    finally:
        torch.set_num_threads(threads)


def small(**settings: object) -> dict[str, object]:
    """The fixed settings of a small trial."""
    return {"architecture": "test_efficientnet", "strategy": "full", "epochs": 2, **settings}


def worker_pids(run: RunFolder, trial_id: str) -> list[int]:
    """The processes that wrote to a trial's log, in order."""
    found = re.findall(r"\[(\d+)\] INFO orchestrator: trial ", run.log(trial_id).read_text())
    return [int(pid) for pid in found]


def open_study(run: RunFolder) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(run.study_log)))
    return optuna.load_study(study_name="sweep", storage=storage)


def test_architectures_are_probed_once_and_the_best_is_tried_first(
    ray_here: None, write_sweep: Callable[..., Path], tmp_path: Path
):
    space = {
        "architecture": {"choice": ["test_efficientnet", "resnet10t"]},
        "strategy": {"choice": ["head"]},
        "lr": {"log": [1e-3, 1e-2]},
    }
    trial = {"weights": "none", "epochs": 1}
    path = write_sweep(tmp_path, trial=trial, space=space, search={"trials": 4, "probe": True, "sampler": "random"})
    outcome = run_sweep(load(path))
    record = Ledger(outcome.run).read_run()
    assert set(record.probe) == {"test_efficientnet", "resnet10t"}
    assert list(record.probe.values()) == sorted(record.probe.values(), reverse=True)
    trials = Ledger(outcome.run).trials()
    assert [trial.config.architecture for trial in trials[:2]] == list(record.probe)
    *entries, first, second = outcome.leaderboard.to_json()
    for entry in entries:
        assert entry["probe"] == record.probe[entry["config"]["architecture"]]
    assert [first["objective"], second["objective"]] == list(record.probe.values())
    assert {first["status"], second["status"]} == {"PROBE"}
    assert first.keys() == entries[0].keys()
    assert outcome.baseline is not None
    assert (outcome.baseline.architecture, outcome.baseline.probe) == next(iter(record.probe.items()))
    assert outcome.baseline.winner == outcome.leaderboard.winner()

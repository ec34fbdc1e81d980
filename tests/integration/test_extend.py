"""Runs that are extended, end by a budget, or learn from others: whole sweeps, in process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.extend import extend_sweep, plan_extension
from orchestrator.driver.sweep import SweepOutcome, resume_sweep, run_sweep
from orchestrator.search.study import STATES
from orchestrator.spec.loading import load
from search_spaces.errors import InvalidInput, SweepFailed
from trainables.checkpoint_state import CheckpointState
from trainables.status import Status

pytestmark = pytest.mark.seconds(70)

Sweep = Callable[..., SweepOutcome]

ONE = {"concurrent": 1}
SPACE = {"architecture": {"choice": ["test_efficientnet"]}, "lr": {"log": [1e-3, 4e-3]}}
TRIAL = {"strategy": "full", "epochs": 1}
ONE_ARCHITECTURE = {"architecture": "test_efficientnet", **TRIAL}


def go_on(folder: Path, trials: int = 0, *changes: str) -> SweepOutcome:
    return extend_sweep(plan_extension(folder, trials, changes))


def open_study(run: RunFolder) -> optuna.Study:
    return optuna.load_study(study_name="sweep", storage=JournalStorage(JournalFileBackend(str(run.study_log))))


def states(run: RunFolder) -> dict[str, str]:
    return {trial.user_attrs["trial_id"]: trial.state.name for trial in open_study(run).trials}


def truth(run: RunFolder) -> dict[str, str]:
    return {trial.trial_id: STATES[trial.status].name for trial in Ledger(run).trials()}


def test_an_extended_run_keeps_and_learns_from_everything(sweep: Sweep):
    run = sweep(trial=TRIAL, space=SPACE, search={"trials": 2}, resources=ONE).run
    before = {trial.trial_id: Ledger(run).path(trial.trial_id).read_bytes() for trial in Ledger(run).trials()}
    outcome = go_on(run.root, 2, "space.architecture+=test_resnet", "space.lr.log=[1e-4, 1e-2]")
    assert not outcome.interrupted
    trials = Ledger(run).trials()
    assert [trial.trial_id for trial in trials] == ["0000", "0001", "0002", "0003"]
    assert {trial_id: Ledger(run).path(trial_id).read_bytes() for trial_id in before} == before
    assert {trial.status for trial in trials} == {Status.COMPLETED}
    best = max(trials[:2], key=lambda trial: trial.objective or 0)
    assert trials[2].parameters == {**best.parameters, "architecture": "test_resnet"}, "what is new is tried first"
    assert len(outcome.leaderboard.entries) == 4
    study = open_study(run)
    assert states(run) == truth(run)
    (choices,) = {trial.distributions["architecture"].choices for trial in study.trials}
    assert choices == ("test_efficientnet", "test_resnet")
    (spread,) = {(trial.distributions["lr"].low, trial.distributions["lr"].high) for trial in study.trials}
    assert spread == (1e-4, 1e-2)


def test_a_budget_of_time_ends_trials_at_an_epoch_and_more_of_it_goes_on(sweep: Sweep, tmp_path: Path):
    run = RunFolder(tmp_path / "runs" / "sweep")
    epochs = 12  # more than a fast machine trains until the stop reaches the trial
    trial_settings = {**ONE_ARCHITECTURE, "epochs": epochs}
    sections: dict[str, Any] = {"trial": trial_settings, "search": {"trials": 2}, "resources": ONE}
    with pytest.raises(SweepFailed, match=r"no trial of .* completed, budget.wall_clock: .* of 0.1s are used; go on"):
        sweep(**sections, budget={"wall_clock": "0.1s"})
    (trial,) = Ledger(run).trials()
    assert trial.status is Status.INTERRUPTED
    assert 1 <= len(trial.reports) < epochs
    assert CheckpointState.read(run.last("0000")).reports == trial.reports
    assert [asked.state.name for asked in open_study(run).trials] == ["FAIL"]
    assert not run.stop_request.exists()
    record = Ledger(run).read_run()
    assert record.ended is not None
    assert record.ended.startswith("budget.wall_clock: ")
    assert record.driven_seconds > trial.seconds

    with pytest.raises(
        InvalidInput, match=r"goes on while there is some budget left, .*--set budget.wall_clock=\.\.\."
    ):
        resume_sweep(run.root)
    with pytest.raises(InvalidInput, match="goes on while there is some budget left"):
        plan_extension(run.root, 1, ["budget.wall_clock=0.2s"])

    outcome = go_on(run.root, 0, "budget.wall_clock=1d")
    assert (outcome.interrupted, outcome.ended) == (False, None)
    trials = Ledger(run).trials()
    assert [[report.epoch for report in trial.reports] for trial in trials] == [list(range(1, epochs + 1))] * 2
    assert states(run) == truth(run) == {"0000": "COMPLETE", "0001": "COMPLETE"}
    newer = Ledger(run).read_run()
    assert newer.ended is None
    assert newer.driven_seconds > record.driven_seconds + trials[1].seconds, "time adds up"


def test_a_target_completes_its_trial_and_ends_the_sweep(sweep: Sweep):
    outcome = sweep(trial={**ONE_ARCHITECTURE, "epochs": 9}, search={"trials": 5}, budget={"target": 0.0})
    run, trials = outcome.run, Ledger(outcome.run).trials()
    completed = [trial for trial in trials if trial.status is Status.COMPLETED]
    assert completed
    assert all(trial.ended_by == "target" and len(trial.reports) == 1 for trial in completed)
    assert len(trials) <= 3, "two at once: nothing begins after the end"
    assert outcome.ended is not None
    assert any(outcome.ended.startswith(f"budget.target: trial {trial.trial_id} reached ") for trial in completed)
    assert Ledger(run).read_run().ended == outcome.ended
    with pytest.raises(InvalidInput, match=r"budget.target"):
        resume_sweep(run.root)


def test_a_plateau_ends_the_sweep_and_an_extension_begins_a_new_one(sweep: Sweep):
    points = [{"lr": 2e-3}, *({"lr": 2e-3} for _ in range(5))]  # nothing can beat its equal
    search = {"trials": 6, "points": points}
    outcome = sweep(trial=ONE_ARCHITECTURE, search=search, resources=ONE, budget={"plateau": 2})
    assert outcome.ended is not None
    assert outcome.ended.startswith("budget.plateau: 2 trials in a row did not beat ")
    ended = [trial for trial in Ledger(outcome.run).trials() if not trial.status.unfinished]
    assert len(ended) == 3
    more = go_on(outcome.run.root, 1)
    assert more.ended is not None
    assert sum(entry.rank is not None for entry in more.leaderboard.entries) in (5, 6)


def test_a_warm_start_is_told_to_the_study_and_stands_on_no_leaderboard(
    ray_here: None, write_sweep: Callable[..., Path], tmp_path: Path
):
    wide = {**SPACE, "lr": {"log": [1e-3, 1e-2]}}
    points = [{"architecture": "test_efficientnet", "lr": lr} for lr in (2e-3, 9e-3)]
    settings: dict[str, Any] = {"trial": TRIAL, "resources": ONE}
    first = load(write_sweep(tmp_path, **settings, name="first", space=wide, search={"trials": 2, "points": points}))
    run_sweep(first)
    file = write_sweep(
        tmp_path, **settings, name="sweep", space=SPACE, search={"trials": 1, "warm_start": ["runs/first"]}
    )
    outcome = run_sweep(load(file))
    told = [trial for trial in open_study(outcome.run).trials if "from" in trial.user_attrs]
    assert [trial.user_attrs["from"] for trial in told] == ["first/0000"], "9e-3 lies outside of this space"
    original = Ledger(RunFolder(first.run_root)).read_trial("0000")
    assert (told[0].value, told[0].params["lr"]) == (original.objective, 2e-3)
    assert "1 trials, 1 left out" in outcome.run.sweep_log.read_text()
    assert [entry.trial.trial_id for entry in Leaderboard.from_run(outcome.run).entries] == ["0000"]

    # Kept in the run: the other one may go away. What it left out is back in a wider space.
    RunFolder(first.run_root).run_json.unlink()
    go_on(outcome.run.root, 1, "space.lr.log=[1e-3, 1e-2]")
    assert sum("from" in trial.user_attrs for trial in open_study(outcome.run).trials) == 2

    missing = load(file, name="other")
    with pytest.raises(InvalidInput, match=r"search.warm_start: .*first"):
        run_sweep(missing)
    assert not missing.run_root.exists()

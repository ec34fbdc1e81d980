"""Plans that confirm the finalists of a run, and the trainings themselves on a real Ray."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.comparisons.confirmation import read_confirmation
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from orchestrator.driver.confirm import confirm_finalists, plan_confirmation
from orchestrator.driver.sweep import run_sweep
from orchestrator.spec.loading import load
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.sweep_identity import SweepIdentity
from search_spaces.errors import InvalidInput
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


@pytest.fixture
def run(empty_run: RunFolder, small_spec: Callable[..., SweepSpec]) -> RunFolder:
    """A run without a trial, with its sweep file."""
    search = {"trials": 9, "points": [{"strategy": "head", "lr": 0.001}]}
    spec = small_spec(search=search, budget={"wall_clock": "1h"}, stopping={"asha": {"grace": 2}})
    empty_run.sweep_yaml.write_text(spec.to_yaml())
    return empty_run


def write(run: RunFolder, trial: Trial, name: str, score: float, lr: float, **config: Any) -> None:
    parameters = {"strategy": "head", "lr": lr}
    made = trial(name, [score], Status.COMPLETED, parameters, lr=lr, epochs=6, weights="none", **config)
    Ledger(run).write_trial(made)


def test_the_best_trials_are_planned_once_under_seeds_that_they_did_not_have(run: RunFolder, trial: Trial) -> None:
    write(run, trial, "0000", 0.9, 0.001, seed=1)
    write(run, trial, "0001", 0.8, 0.001, seed=2)
    write(run, trial, "0002", 0.7, 0.002, seed=0)
    write(run, trial, "0003", 0.6, 0.003)
    plan = plan_confirmation(run, top=2, seeds=3)
    assert [finalist.trial_id for finalist in plan.finalists] == ["0000", "0002"], "0001 is 0000 under another seed"
    assert plan.seeds == (2, 3, 4)
    assert plan.spec.run_root == run.confirm
    beside = RunFolder(Path(os.path.relpath(str(run.root))))
    place = plan_confirmation(beside, top=2, seeds=3).spec.run_root
    assert Path(os.path.normpath(str(place))) == run.confirm, "also from a relative path"
    assert (plan.spec.stopping, plan.spec.budget.wall_clock, plan.spec.search.trials) == (None, None, 6)
    assert [(point["lr"], point["seed"]) for point in plan.spec.given_points()] == [
        *((0.001, 2), (0.002, 2), (0.001, 3), (0.002, 3), (0.001, 4), (0.002, 4)),
    ]
    configs = [plan.spec.trial_config(point) for point in plan.spec.given_points()]
    assert {config.feature_views for config in configs} == {0}


def test_a_run_with_fewer_trials_has_fewer_finalists(run: RunFolder, trial: Trial) -> None:
    write(run, trial, "0000", 0.9, 0.001)
    assert len(plan_confirmation(run, top=3, seeds=2).finalists) == 1


def test_without_a_completed_trial_nothing_is_planned(run: RunFolder, trial: Trial) -> None:
    Ledger(run).write_trial(trial("0000", [0.5], Status.PRUNED))
    with pytest.raises(InvalidInput, match=r"no trial of .* is COMPLETED, got 1 PRUNED"):
        plan_confirmation(run, top=3, seeds=5)


def test_a_finalist_that_an_extension_has_left_outside_of_the_space_is_trained_as_it_was(
    run: RunFolder, trial: Trial
) -> None:
    write(run, trial, "0000", 0.9, 0.5)
    write(run, trial, "0001", 0.8, 0.001)
    plan = plan_confirmation(run, top=2, seeds=1)
    assert [point["lr"] for point in plan.spec.given_points()] == [0.5, 0.001]
    assert plan.spec.space["lr"] == {"choice": [0.5, 0.001]}
    assert plan_confirmation(run, top=1, seeds=1).spec.space["lr"] == {"choice": [0.5]}


def test_finalists_are_trained_once_and_more_seeds_add_to_them(
    ray_here: None, write_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    space = {"lr": {"choice": [0.001, 0.01]}}
    search = {"trials": 2, "points": [{"lr": 0.001}, {"lr": 0.01}], "probe": False}
    trial = {"architecture": "test_efficientnet", "strategy": "head", "epochs": 1}
    run = run_sweep(load(write_sweep(tmp_path, trial=trial, space=space, search=search))).run
    plan = plan_confirmation(run, top=2, seeds=2)
    assert confirm_finalists(plan) is not None
    first = read_confirmation(plan.run)
    assert first is not None
    assert (first.planned, first.completed, first.is_done) == (4, 4, True)
    assert {tuple(finalist.values) for finalist in first.finalists} == {(0, 2)}, "the search had seed 1"
    confirming = open_run(run.confirm)
    assert SweepIdentity.of(confirming).group == SweepIdentity.of(run).group
    assert SweepIdentity.of(confirming).job == "confirm"
    assert SweepIdentity.of(confirming).id_of("0000") != SweepIdentity.of(run).id_of("0000")
    before = {trial.trial_id: trial for trial in Ledger(confirming).trials()}
    assert confirm_finalists(plan) is None, "nothing is left to do"
    more = plan_confirmation(run, top=2, seeds=3)
    assert confirm_finalists(more) is not None
    found = read_confirmation(run)
    assert found is not None
    assert (found.planned, found.completed) == (6, 6)
    assert {tuple(finalist.values) for finalist in found.finalists} == {(0, 2, 3)}
    after = {trial.trial_id: trial for trial in Ledger(confirming).trials()}
    assert {name: after[name] for name in before} == before
    # Another plan than the one before: exactly what it lacks is trained.
    other = plan_confirmation(run, top=1, seeds=4)
    assert confirm_finalists(other) is not None
    found = read_confirmation(run)
    assert found is not None
    assert (found.planned, found.completed) == (7, 7)
    assert confirm_finalists(more) is None

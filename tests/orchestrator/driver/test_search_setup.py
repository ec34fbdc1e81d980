from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.search_setup import make_searcher
from orchestrator.spec.budget import Budget
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tuner.budget_meter import BudgetMeter
from orchestrator.tuner.scheduler import PlanAwareAsha
from orchestrator.tuner.searcher import LedgerSearcher
from orchestrator.tuner.stopper import SweepStopper
from orchestrator.worker.assignment import Answer, Assignment, EndKind, TrialEnd
from search_spaces.errors import StorageFailed
from trainables.config import Objective
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


@pytest.fixture
def told() -> list[TrialResult]:
    return []


@pytest.fixture
def parts(
    small_spec: Callable[..., SweepSpec], empty_run: RunFolder, told: list[TrialResult]
) -> Callable[..., tuple[LedgerSearcher, PlanAwareAsha | None, SweepStopper]]:
    """Puts together the search of what is left of the run, as the driver does."""

    def make(**sections: Any) -> tuple[LedgerSearcher, PlanAwareAsha | None, SweepStopper]:
        stopper = SweepStopper(empty_run, BudgetMeter(Budget(), Objective(), 0), lambda reason: None)
        spec = small_spec(**{"search": {"trials": 3}, **sections})
        return *make_searcher(spec, Ledger(empty_run), stopper, told.append), stopper

    return make


def begin(searcher: LedgerSearcher, tune_id: str) -> Assignment:
    config = searcher.suggest(tune_id)
    assert isinstance(config, dict)
    return Assignment.from_tune(config)


def test_a_new_run_begins_with_the_default_recipe(
    parts: Any, empty_run: RunFolder, told: list[TrialResult], tmp_path: Path
) -> None:
    storage = {"cache_dir": "cache", "cache_budget": "2GiB"}
    searcher, _, _ = parts(storage=storage, resources={"cpus_per_worker": 2}, budget={"target": 0.9})
    assignment = begin(searcher, "a")
    assert assignment.trial.parameters == {"strategy": "head", "lr": 1e-3}
    assert (assignment.run, assignment.cache, assignment.cache_budget) == (empty_run.root, tmp_path / "cache", 2**31)
    assert (assignment.resources.threads, assignment.target) == (2, 0.9)
    assert assignment.metrics_version == 1, "as the record of the run, of an older version, has it"
    assert told == [assignment.trial] == Ledger(empty_run).trials()


def test_a_run_continues_with_its_unfinished_trials_and_what_is_left(
    parts: Any, empty_run: RunFolder, trial: Trial
) -> None:
    ledger = Ledger(empty_run)
    settings = {"epochs": 6, "strategy": "head", "weights": "none"}
    for name, status, lr in (("0000", Status.COMPLETED, 1e-3), ("0001", Status.INTERRUPTED, 2e-3)):
        ledger.write_trial(trial(name, [0.5], status, {"strategy": "head", "lr": lr}, **settings, lr=lr))
    searcher, _, _ = parts()
    assert searcher.proposals.remaining == 2
    assert [begin(searcher, name).trial.trial_id for name in "ab"] == ["0001", "0002"]
    assert searcher.suggest("c") == Searcher.FINISHED


def test_rungs_are_as_the_trials_so_far_have_left_them(parts: Any, empty_run: RunFolder, trial: Trial) -> None:
    assert parts(stopping="none")[1] is None
    Ledger(empty_run).write_trial(trial("0000", [0.5, 0.6], Status.PRUNED, {"strategy": "head", "lr": 1e-3}, epochs=6))
    _, asha, _ = parts(stopping={"asha": {"grace": 1, "reduction": 2, "resource": "epochs"}})
    assert asha.rungs.values == {1: {"0000": 0.5}, 2: {"0000": 0.6}, 4: {}}


def test_a_trial_that_falls_behind_as_a_budget_ends_is_pruned(parts: Any, empty_run: RunFolder) -> None:
    searcher, asha, stopper = parts(stopping={"asha": {"grace": 1, "reduction": 2, "resource": "epochs"}})
    trials = {name: begin(searcher, name).trial for name in "ab"}
    stopper.ended = "budget.wall_clock: 1h of 1h are used"
    for name, score in (("a", 0.9), ("b", 0.1)):
        report = EpochReport(epoch=1, metrics={"val/macro_f1": score}, seconds=1.0, checkpoint="best")
        result = Answer(trial=trials[name].model_copy(update={"reports": (report,)})).to_tune()
        asha.on_trial_complete(None, Named(name), result)
        searcher.on_trial_complete(name, result)
    assert [trial.status for trial in Ledger(empty_run).trials()] == [Status.INTERRUPTED, Status.PRUNED]


def test_a_record_says_before_it_starts_what_is_known_of_a_trial(parts: Any, empty_run: RunFolder) -> None:
    searcher, _, _ = parts(stopping={"asha": {"grace": 1, "reduction": 2, "resource": "epochs"}})
    begun = begin(searcher, "a").trial
    assert [(rung.epoch, rung.rung) for rung in begun.rungs] == [(1, 1), (2, 2), (4, 4)]
    assert all(rung.judged for rung in begun.rungs)
    assert begun.flops is not None and begun.flops > 1e6
    (kept,) = Ledger(empty_run).trials()
    assert (kept.rungs, kept.flops) == (begun.rungs, begun.flops)


def test_a_storage_that_fails_stops_the_sweep(parts: Any) -> None:
    searcher, _, stopper = parts()
    trial = begin(searcher, "a").trial
    searcher.on_trial_complete("a", Answer(trial=trial, end=TrialEnd(kind=EndKind.STORAGE_FAILED)).to_tune())
    assert isinstance(stopper.failed, StorageFailed)
    assert stopper.is_stopped


class Named:
    """Tune's trial, as far as the scheduler looks at it."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id

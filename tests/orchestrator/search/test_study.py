from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from orchestrator.search.optuna_space import suggest, to_parameters
from orchestrator.search.study import STATES, build_study, locate_trial, tell, to_frozen
from orchestrator.spec.sweep_spec import SweepSpec
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]

HEAD = {"strategy": "head", "lr": 0.002}
THAWED = {"strategy": "progressive", "unfreeze_epoch": 2, "lr": 0.003}


@pytest.fixture
def spec(small_spec: Callable[..., SweepSpec]) -> SweepSpec:
    return small_spec()


@pytest.fixture
def results(trial: Trial) -> list[TrialResult]:
    return [
        trial("0000", [0.2, 0.7, 0.6], Status.COMPLETED, HEAD),
        trial("0001", [0.3, 0.1], Status.PRUNED, THAWED),
        trial("0002", [0.5], Status.FAILED, HEAD, failure="NaN"),
        trial("0003", [], Status.PRUNED, HEAD),
        trial("0004", [0.4], Status.PRUNED_OOM, HEAD, failure="memory"),
        trial("0005", [], Status.TIMED_OUT, HEAD, failure="time"),
        trial("0006", [0.9], Status.RUNNING, HEAD),
        trial("0007", [0.9], Status.INTERRUPTED, THAWED),
    ]


def facts(frozen: FrozenTrial) -> dict[str, Any]:
    """Optuna's record of a trial, without its times and the point enqueued."""
    return {
        "state": frozen.state,
        "value": frozen.value,
        "params": frozen.params,
        "distributions": frozen.distributions,
        "intermediate": frozen.intermediate_values,
        "user": frozen.user_attrs,
    }


def test_a_completed_trial_has_the_value_of_its_best_epoch(spec: SweepSpec, results: list[TrialResult]) -> None:
    frozen = to_frozen(spec.search_space, results[0], results[0].parameters)
    assert (frozen.state, frozen.value) == (TrialState.COMPLETE, 0.7)
    assert frozen.intermediate_values == {1: 0.2, 2: 0.7, 3: 0.6}
    assert frozen.user_attrs == {"trial_id": "0000"}


def test_a_stopped_trial_is_pruned_with_its_intermediate_values(spec: SweepSpec, results: list[TrialResult]) -> None:
    frozen = to_frozen(spec.search_space, results[1], results[1].parameters)
    assert frozen.state is TrialState.PRUNED
    assert frozen.intermediate_values == {1: 0.3, 2: 0.1}
    assert frozen.params == {"strategy": "progressive", "unfreeze_epoch (strategy: progressive)": 2, "lr": 0.003}


def test_only_completed_trials_can_be_the_study_s_best(
    spec: SweepSpec, results: list[TrialResult], tmp_path: Path
) -> None:
    study = build_study(spec.name, spec.problem, results, tmp_path / "study.log")
    assert (study.best_value, study.best_trial.user_attrs) == (0.7, {"trial_id": "0000"})


def test_nothing_is_left_running_and_every_end_has_a_state(
    spec: SweepSpec, results: list[TrialResult], tmp_path: Path
) -> None:
    states = [trial.state for trial in build_study(spec.name, spec.problem, results, tmp_path / "study.log").trials]
    assert states == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.FAIL,
    ]
    assert set(STATES) == {status for status in Status if not status.unfinished}


def test_a_study_rebuilt_from_the_ledger_equals_the_one_that_was_told(
    spec: SweepSpec, results: list[TrialResult], tmp_path: Path
) -> None:
    finished = [result for result in results if not result.status.unfinished]
    live = build_study(spec.name, spec.problem, [], tmp_path / "live.log")
    for result in finished:
        live.enqueue_trial(to_parameters(spec.search_space, result.parameters))
        asked = live.ask()
        assert suggest(spec.search_space, asked) == result.parameters
        asked.set_user_attr("trial_id", result.trial_id)
        for report in result.reports:
            asked.report(report.metrics["val/macro_f1"], step=report.epoch)
        tell(live, asked, result)
    rebuilt = build_study(spec.name, spec.problem, results, tmp_path / "rebuilt.log")
    assert [facts(trial) for trial in rebuilt.trials] == [facts(trial) for trial in live.trials]


def test_the_journal_is_read_by_a_fresh_process_s_load_study(
    spec: SweepSpec, results: list[TrialResult], tmp_path: Path
) -> None:
    journal = tmp_path / "study.log"
    built = build_study(spec.name, spec.problem, results, journal)
    loaded = optuna.load_study(study_name=spec.name, storage=JournalStorage(JournalFileBackend(str(journal))))
    assert [facts(trial) for trial in loaded.trials] == [facts(trial) for trial in built.trials]
    assert loaded.direction == optuna.study.StudyDirection.MAXIMIZE


def test_building_anew_replaces_the_journal(spec: SweepSpec, results: list[TrialResult], tmp_path: Path) -> None:
    journal = tmp_path / "study.log"
    for _ in range(2):
        assert len(build_study(spec.name, spec.problem, results, journal).trials) == 6


def test_a_journal_that_is_deleted_meanwhile_does_not_end_the_search(
    spec: SweepSpec, results: list[TrialResult], tmp_path: Path
) -> None:
    study = build_study("trash", spec.problem, results, tmp_path / "study.log")
    (tmp_path / "study.log").unlink()
    asked = study.ask()
    study.tell(asked, 0.5)
    assert study.trials[-1].value == 0.5


def test_a_loss_is_minimised(small_spec: Callable[..., SweepSpec], trial: Trial, tmp_path: Path) -> None:
    spec = small_spec(objective={"metric": "val/loss"})
    result = trial("0000", [0.9, 0.4, 0.6], Status.COMPLETED, HEAD, objective={"metric": "val/loss"})
    study = build_study(spec.name, spec.problem, [result], tmp_path / "study.log")
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert study.best_value == 0.4


def test_a_result_with_another_value_of_what_is_no_dimension_any_more_lies_outside(
    spec: SweepSpec, trial: Trial
) -> None:
    fixed = spec.trial_config(HEAD).dropout
    for dropout, lies in ((fixed, HEAD), (fixed + 0.1, None)):
        old = trial("0000", [0.5], Status.COMPLETED, {**HEAD, "dropout": dropout}, **HEAD, dropout=dropout)
        assert locate_trial(spec.problem, old) == lies

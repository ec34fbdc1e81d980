"""The owner of the statuses, with a real ledger and a real study; nothing trains."""

from collections.abc import Callable
from dataclasses import dataclass, field

import optuna
import pytest
from optuna.trial import TrialState

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.search.proposals import Proposals
from orchestrator.search.study import build_study
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tuner.trial_states import StoppedBy, TrialStates, status_of
from orchestrator.worker.assignment import EndKind, TrialEnd
from search_spaces.errors import StorageFailed
from trainables.result import EpochReport, Failure, TrialResult
from trainables.status import Status

COMPLETED = TrialEnd(kind=EndKind.COMPLETED)


@dataclass
class Sweep:
    """Statuses of a sweep, with everything that receives them."""

    states: TrialStates
    ledger: Ledger
    study: optuna.Study
    proposals: Proposals
    told: list[TrialResult] = field(default_factory=list)
    given_up: list[StorageFailed] = field(default_factory=list)

    def begin(self, tune_id: str) -> TrialResult:
        proposal = self.proposals.next()
        assert proposal is not None
        return self.states.begin(tune_id, proposal)

    def kept(self) -> list[Status]:
        return [trial.status for trial in self.ledger.trials()]


@pytest.fixture
def sweep(small_spec: Callable[..., SweepSpec], empty_run: RunFolder) -> Sweep:
    problem, ledger = small_spec(search={"trials": 4}).problem, Ledger(empty_run)
    study = build_study("small", problem, [], empty_run.study_log)
    told: list[TrialResult] = []
    given_up: list[StorageFailed] = []
    states = TrialStates(ledger, study, told.append, given_up.append)
    return Sweep(states, ledger, study, Proposals(problem, study, [], [], lambda config: 1.0), told, given_up)


def grown(trial: TrialResult, *scores: float) -> TrialResult:
    reports = tuple(
        EpochReport(epoch=epoch, metrics={"val/macro_f1": score}, seconds=1.0, checkpoint="best")
        for epoch, score in enumerate(scores, start=len(trial.reports) + 1)
    )
    return trial.model_copy(update={"reports": (*trial.reports, *reports)})


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (EndKind.COMPLETED, Status.COMPLETED),
        (EndKind.FAILED, Status.FAILED),
        (EndKind.OUT_OF_MEMORY, Status.PRUNED_OOM),
        (EndKind.TIMED_OUT, Status.TIMED_OUT),
    ],
)
def test_an_end_has_its_status(kind: EndKind, status: Status, sweep: Sweep) -> None:
    assert status_of(kind) is status
    trial = sweep.begin("a")
    failure = None if kind is EndKind.COMPLETED else Failure(message="why")
    sweep.states.end("a", grown(trial, 0.5), TrialEnd(kind=kind, failure=failure))
    (kept,) = sweep.ledger.trials()
    assert (kept.status, kept.failure, len(kept.reports)) == (status, failure, 1)
    assert sweep.study.trials[0].state is (TrialState.COMPLETE if failure is None else TrialState.FAIL)


def test_ledger_study_and_observers_get_each_change(sweep: Sweep) -> None:
    trial = sweep.begin("a")
    assert (trial.status, sweep.kept()) == (Status.RUNNING, [Status.RUNNING])
    sweep.states.report("a", grown(trial, 0.2))
    sweep.states.end("a", grown(trial, 0.2, 0.7, 0.6), COMPLETED)
    assert [(each.status, len(each.reports)) for each in sweep.told] == [
        (Status.RUNNING, 0),
        (Status.RUNNING, 1),
        (Status.COMPLETED, 3),
    ]
    assert sweep.ledger.trials() == sweep.told[-1:]
    frozen = sweep.study.trials[0]
    assert frozen.user_attrs == {"trial_id": "0000"}
    assert (frozen.state, frozen.value) == (TrialState.COMPLETE, 0.7)
    assert frozen.intermediate_values == {1: 0.2, 2: 0.7, 3: 0.6}


@pytest.mark.parametrize(
    ("by", "status", "state"),
    [
        (StoppedBy.SCHEDULER, Status.PRUNED, TrialState.PRUNED),
        (StoppedBy.BUDGET, Status.INTERRUPTED, TrialState.FAIL),
        (StoppedBy.REQUEST, Status.INTERRUPTED, TrialState.FAIL),
    ],
)
def test_a_trial_that_was_stopped_has_the_status_of_the_reason(
    by: StoppedBy, status: Status, state: TrialState, sweep: Sweep
) -> None:
    sweep.states.stop("a", grown(sweep.begin("a"), 0.4), by)
    sweep.begin("b")
    sweep.states.stop("b", None, by)
    assert sweep.kept() == [status, status]
    assert [len(trial.reports) for trial in sweep.ledger.trials()] == [1, 0]
    assert sweep.study.trials[0].state is state


@pytest.mark.parametrize(("out_of_memory", "status"), [(False, Status.FAILED), (True, Status.PRUNED_OOM)])
def test_a_trial_whose_process_died_keeps_what_was_known_and_names_its_log(
    out_of_memory: bool, status: Status, sweep: Sweep
) -> None:
    sweep.states.report("a", grown(sweep.begin("a"), 0.5))
    sweep.states.die("a", "its process died 3 times", out_of_memory=out_of_memory)
    (kept,) = sweep.ledger.trials()
    assert (kept.status, len(kept.reports)) == (status, 1)
    assert kept.failure == Failure(message="its process died 3 times", log="logs/0000.log")


def test_what_still_runs_is_interrupted_once_and_left_open_for_a_resume(sweep: Sweep) -> None:
    sweep.states.end("a", grown(sweep.begin("a"), 0.5), COMPLETED)
    sweep.states.report("b", grown(sweep.begin("b"), 0.4))
    assert [trial.trial_id for trial in sweep.states.interrupt()] == ["0001"]
    assert sweep.kept() == [Status.COMPLETED, Status.INTERRUPTED]
    assert [trial.state for trial in sweep.study.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert sweep.states.interrupt() == []


def test_a_trial_whose_storage_failed_stays_unfinished_and_the_sweep_gives_up(sweep: Sweep) -> None:
    trial = grown(sweep.begin("a"), 0.5)
    sweep.states.report("a", trial)
    failure = Failure(message="runs: the disk is full; free some space")
    sweep.states.end("a", trial, TrialEnd(kind=EndKind.STORAGE_FAILED, failure=failure))
    assert [str(error) for error in sweep.given_up] == ["runs: the disk is full; free some space"]
    assert sweep.ledger.trials() == [trial]
    assert sweep.study.trials[0].state is TrialState.RUNNING


def test_a_record_that_cannot_be_written_is_not_announced_and_the_sweep_gives_up(
    sweep: Sweep, empty_run: RunFolder
) -> None:
    trial = sweep.begin("a")
    records = empty_run.root / "trials"
    records.rename(empty_run.root / "moved")
    records.touch()  # no folder: nothing can be written below it
    sweep.states.report("a", grown(trial, 0.6))
    assert sweep.told == [trial]
    assert "trials: cannot write 0000.json" in str(sweep.given_up[0])

"""Every way in which a trial can end: ledger, Optuna's study, W&B and TensorBoard say the same of it.

Tune's calls are made by hand, in its order; everything behind them is real.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from tracker_files import tensorboard_events, wandb_records, wandb_values

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.search.proposals import Proposals
from orchestrator.search.rungs import Rungs
from orchestrator.search.study import STATES, build_study
from orchestrator.spec.loading import load
from orchestrator.spec.sections import Asha, TensorBoard, Wandb
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tensorboard_tracker import TensorBoardTracker
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from orchestrator.tuner.scheduler import PlanAwareAsha
from orchestrator.tuner.searcher import LedgerSearcher
from orchestrator.tuner.trial_states import TrialStates
from orchestrator.worker.assignment import Answer, Assignment, EndKind, TrialEnd
from search_spaces.documents import dump_yaml
from search_spaces.errors import StorageFailed
from trainables.result import EpochReport, Failure, TrialResult
from trainables.status import Status

EPOCHS = 3
KILLED = "The actor is dead because its worker process has died."
LOW_ON_MEMORY = "1 worker(s) were killed due to the node running low on memory."


class Sweep:
    """One trial of a sweep, as the driver handles it; the first epoch has been reported."""

    def __init__(self, spec: SweepSpec, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.run = RunFolder(folder)
        self.ledger = Ledger(self.run)
        problem, known = spec.problem, self.ledger.trials()
        self.study = build_study(spec.name, problem, known, folder / "study.log")
        trackers = (WandbTracker(Wandb(mode="offline")), TensorBoardTracker(TensorBoard()))
        self.dispatcher = Dispatcher(trackers, SweepIdentity(spec.name), RunFolder(folder), known)
        self.given_up: list[StorageFailed] = []
        self.states = TrialStates(self.ledger, self.study, self.dispatcher.on_trial, self.given_up.append)
        self.asha = PlanAwareAsha(Rungs(Asha(grace=1, reduction=2, resource="epochs"), EPOCHS))
        self.is_over = False
        proposals = Proposals(problem, self.study, known, [{"lr": 0.01}], price=lambda config: 1.0)

        def assign(trial: TrialResult) -> Assignment:
            return Assignment(trial=trial, run=folder, cache=folder / "cache", resources=spec.resources)

        self.searcher = LedgerSearcher(proposals, self.states, assign, lambda: self.is_over, self.asha.pruned_at_end)
        config = self.searcher.suggest("t")
        assert isinstance(config, dict)
        self.trial = Assignment.from_tune(config).trial
        self.epoch()

    def epoch(self) -> None:
        """Report one more epoch."""
        self.grow()
        self.searcher.on_trial_result("t", Answer(trial=self.trial).to_tune())

    def grow(self) -> None:
        number = len(self.trial.reports) + 1
        report = EpochReport(epoch=number, metrics={"val/macro_f1": number / 8}, seconds=1, checkpoint="best")
        self.trial = self.trial.model_copy(update={"reports": (*self.trial.reports, report)})

    def end(self, kind: EndKind) -> None:
        """End the trial by itself, with its next epoch."""
        self.grow()
        failure = None if kind is EndKind.COMPLETED else Failure(message="so it was")
        self.stop(TrialEnd(kind=kind, failure=failure))

    def stop(self, end: TrialEnd | None = None) -> None:
        """End the trial as Tune does: the scheduler hears of it first."""
        result = Answer(trial=self.trial, end=end).to_tune()
        self.asha.on_trial_complete(None, SimpleNamespace(trial_id="t"), result)  # type: ignore[arg-type]
        self.searcher.on_trial_complete("t", result)

    def die(self, reason: str) -> None:
        """Lose the process once too often."""
        tune_trial = SimpleNamespace(trial_id="t", num_failures=0, max_failures=0)
        self.searcher.restarts.on_death(tune_trial, reason)  # type: ignore[arg-type]
        self.searcher.on_trial_complete("t", error=True)


def budget_between_rungs(sweep: Sweep) -> None:
    sweep.epoch()
    sweep.grow()  # after its third epoch, at no rung
    sweep.is_over = True
    sweep.stop()


def budget_at_a_rung(sweep: Sweep) -> None:
    better = sweep.trial.model_copy(update={"trial_id": "better"})
    (report,) = better.reports
    best = report.model_copy(update={"metrics": {"val/macro_f1": 1.0}})
    for rival in ("a", "b"):
        sweep.asha.rungs.continues(better.model_copy(update={"trial_id": rival, "reports": (best,)}))
    sweep.is_over = True
    sweep.stop()


def storage(sweep: Sweep) -> None:
    sweep.end(EndKind.STORAGE_FAILED)
    assert [str(error) for error in sweep.given_up] == ["so it was"]


@dataclass(frozen=True)
class Way:
    does: Callable[[Sweep], object]
    status: Status


WAYS = {
    "it completes": Way(lambda sweep: sweep.end(EndKind.COMPLETED), Status.COMPLETED),
    "ASHA stops it": Way(lambda sweep: sweep.stop(), Status.PRUNED),
    "a budget ends the sweep between rungs": Way(budget_between_rungs, Status.INTERRUPTED),
    "a budget ends the sweep while it is behind at a rung": Way(budget_at_a_rung, Status.PRUNED),
    "a user stops the sweep": Way(lambda sweep: sweep.states.interrupt(), Status.INTERRUPTED),
    "it raises": Way(lambda sweep: sweep.end(EndKind.FAILED), Status.FAILED),
    "it runs out of memory": Way(lambda sweep: sweep.end(EndKind.OUT_OF_MEMORY), Status.PRUNED_OOM),
    "its epoch takes too long": Way(lambda sweep: sweep.end(EndKind.TIMED_OUT), Status.TIMED_OUT),
    "its process is killed": Way(lambda sweep: sweep.die(KILLED), Status.FAILED),
    "its process is killed for want of memory": Way(lambda sweep: sweep.die(LOW_ON_MEMORY), Status.PRUNED_OOM),
    "its storage fails": Way(storage, Status.RUNNING),
}


@pytest.fixture
def spec(tmp_path: Path) -> SweepSpec:
    sections = {
        "name": "small",
        "data": {"root": "photos"},
        "trial": {"architecture": "resnet18", "strategy": "head", "weights": "none", "epochs": EPOCHS},
        "space": {"lr": {"log": [1e-3, 1e-1]}},
        "search": {"trials": 1, "sampler": "random"},
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(dump_yaml(sections))
    return load(path)


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


@pytest.mark.parametrize("way", WAYS)
def test_ledger_study_and_trackers_agree_on_the_end(way: str, spec: SweepSpec, tmp_path: Path) -> None:
    sweep = Sweep(spec, tmp_path / "run")
    WAYS[way].does(sweep)
    assert sweep.dispatcher.close() == ()
    check(sweep, WAYS[way].status)


def test_they_agree_after_a_resume_too(spec: SweepSpec, tmp_path: Path) -> None:
    first = Sweep(spec, tmp_path / "run")
    first.states.interrupt()
    assert first.dispatcher.close() == ()
    check(first, Status.INTERRUPTED)
    second = Sweep(spec, tmp_path / "run")
    second.end(EndKind.COMPLETED)
    assert second.dispatcher.close() == ()
    check(second, Status.COMPLETED)


def check(sweep: Sweep, status: Status) -> None:
    trial = sweep.ledger.read_trial("0000")
    assert trial.status is status
    (asked,) = sweep.study.trials
    if status is Status.RUNNING:
        assert asked.state.name == "RUNNING"
    else:
        assert asked.state.name == ("FAIL" if status is Status.INTERRUPTED else STATES[status].name)
    assert list(asked.intermediate_values.values()) == [report.metrics["val/macro_f1"] for report in trial.reports]
    (file,) = sweep.run.wandb.glob("offline-run-*/run-small-0000.wandb")
    shown, epochs, code = "", [], -1
    for record in wandb_records(file):
        if record.HasField("summary"):
            shown = wandb_values(record.summary.update).get("status", shown)
        elif record.HasField("history"):
            epochs.append(record.history.step.num)
        elif record.HasField("exit"):
            code = record.exit.exit_code
    assert shown == status.value
    assert code == (0 if status in (Status.COMPLETED, Status.PRUNED) else 1)
    assert epochs == [report.epoch for report in trial.reports]
    texts = [
        value.tensor.string_val[0].decode()
        for event in tensorboard_events(sweep.run.root / "tensorboard" / "0000")  # type: ignore[arg-type]
        for value in event.summary.value
        if value.tag.startswith("status")
    ]
    assert texts[-1] == status.value

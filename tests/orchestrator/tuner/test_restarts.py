from types import SimpleNamespace
from typing import Any

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError
from ray.tune.execution.tune_controller import TuneController

from orchestrator.tuner import restarts
from orchestrator.tuner.restarts import MAX_RESTARTS, MAX_UNREACHABLE, RestartPolicy
from orchestrator.worker.assignment import Answer
from trainables.config import TrialConfig
from trainables.result import EpochReport, TrialResult

CRASH = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR"
NODE = "The actor died because its node has died. Node Id: 1b1e35760c83481e3d03973baeced6e71dc491613eee91a36d13992b"
UNREACHABLE = str(ActorUnavailableError("The actor is temporarily unavailable: RpcError", b"5" * 16))
MEMORY = "1 worker(s) were killed due to the node running low on memory."


class Trial(SimpleNamespace):
    """Tune's handling of a trial whose process dies."""

    __hash__ = object.__hash__

    def __init__(self) -> None:
        super().__init__(trial_id="a", num_failures=0, max_failures=MAX_RESTARTS)

    def dies(self, of: str, restarts: RestartPolicy) -> bool:
        """Return whether Tune starts the trial again."""
        restarts.on_death(self, of)  # type: ignore[arg-type]
        self.num_failures += 1
        return self.num_failures <= self.max_failures


def after(epochs: int) -> dict[str, Any]:
    """Answer of a trial that has completed so many epochs."""
    values = {"data": {"root": "/photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 27, "lr": 0.01}
    reports = tuple(
        EpochReport(epoch=epoch, metrics={"val/macro_f1": 0.5}, seconds=1.0, checkpoint="best", ended_by=None)
        for epoch in range(1, epochs + 1)
    )
    config = TrialConfig.model_validate(values)
    return Answer(trial=TrialResult(trial_id="0000", config=config, parameters={}, reports=reports)).to_tune()


@pytest.fixture
def trial() -> Trial:
    return Trial()


def test_a_trial_that_dies_in_vain_ends_after_three_tries(trial: Trial):
    rule = RestartPolicy()
    assert [trial.dies(CRASH, rule) for _ in range(3)] == [True, True, False]
    reason, out_of_memory = rule.verdict("a")
    assert not out_of_memory
    assert reason.startswith("its process died 3 times in the same epoch")


def test_a_trial_that_gets_on_is_started_without_end(trial: Trial):
    rule = RestartPolicy()
    for epochs in range(1, 21):
        assert trial.dies(CRASH, rule)
        assert trial.dies(CRASH, rule)
        rule.on_trial_result(0, [], trial, after(epochs))
    assert [trial.dies(CRASH, rule) for _ in range(3)] == [True, True, False]


def test_what_a_checkpoint_shows_again_is_no_progress(trial: Trial):
    rule = RestartPolicy()
    rule.on_trial_result(0, [], trial, after(3))
    deaths = []
    for _ in range(4):
        deaths.append(trial.dies(MEMORY, rule))
        rule.on_trial_result(0, [], trial, after(3))
    assert deaths[:3] == [True, True, False]
    assert rule.verdict("a")[1]


def test_the_death_of_a_node_is_free(trial: Trial):
    rule = RestartPolicy()
    assert all(trial.dies(NODE, rule) for _ in range(20))
    assert [trial.dies(CRASH, rule) for _ in range(3)] == [True, True, False]


def test_the_death_of_a_node_is_free_though_no_try_is_left(trial: Trial):
    rule = RestartPolicy()
    assert [trial.dies(of, rule) for of in (CRASH, CRASH, NODE, CRASH)] == [True, True, True, False]


def test_a_process_out_of_reach_is_free_for_a_while(trial: Trial):
    rule = RestartPolicy()
    assert all(trial.dies(UNREACHABLE, rule) for _ in range(MAX_UNREACHABLE))
    assert [trial.dies(UNREACHABLE, rule) for _ in range(3)] == [True, True, False]


def test_want_of_memory_has_its_own_status(trial: Trial):
    rule = RestartPolicy()
    assert [trial.dies(MEMORY, rule) for _ in range(3)] == [True, True, False]
    assert rule.verdict("a")[1]
    rule.on_trial_result(0, [], trial, after(1))
    assert not rule.verdict("a")[1], "that was in an earlier epoch"


def test_tune_is_taught_that_a_killed_process_is_a_dead_one(monkeypatch: pytest.MonkeyPatch):
    seen: list[Any] = []
    monkeypatch.setattr(restarts, "_tunes_own", lambda manager, task, error: seen.append(error))
    set_up(RestartPolicy(), monkeypatch)
    other = RayActorError()
    for error in (OutOfMemoryError(MEMORY), other):
        RayActorManager._actor_task_failed(None, None, error)  # type: ignore[arg-type]
    assert isinstance(seen[0], RayActorError)
    assert MEMORY in str(seen[0])
    assert seen[1] is other


def test_a_death_is_counted_once_however_often_tune_tells_of_it(monkeypatch: pytest.MonkeyPatch, trial: Trial):
    seen: list[Any] = []
    monkeypatch.setattr(restarts, "_tunes_own_of_trials", lambda controller, trial, error: seen.append(error))
    set_up(RestartPolicy(), monkeypatch)
    controller = SimpleNamespace(_resetting_trials={trial})
    first, second = RayActorError(error_msg=NODE), RayActorError(error_msg=NODE)
    for error in (first, first, second):
        TuneController._process_trial_failure(controller, trial, error)  # type: ignore[arg-type, call-arg]
    assert seen == [first, second]
    assert trial.max_failures == MAX_RESTARTS + 2
    assert not controller._resetting_trials, "another process may take it up"


def set_up(rule: RestartPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo after the test what it changes of Tune."""
    monkeypatch.setattr(RayActorManager, "_actor_task_failed", RayActorManager._actor_task_failed)
    monkeypatch.setattr(TuneController, "_process_trial_failure", TuneController._process_trial_failure)
    rule.setup()

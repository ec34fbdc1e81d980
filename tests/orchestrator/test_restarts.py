from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

from orchestrator import restarts
from orchestrator.assignment import answer
from orchestrator.restarts import MAX_RESTARTS, MAX_UNREACHABLE, Restarts
from trainables.config import TrialConfig
from trainables.result import EpochReport, Status, TrialResult

CRASH = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR"
NODE = "The actor died because its node has died. Node Id: 1b1e35760c83481e3d03973baeced6e71dc491613eee91a36d13992b"
UNREACHABLE = (
    "ray.exceptions.ActorUnavailableError: The actor 5fc5 is unavailable: The actor is temporarily unavailable"
)
MEMORY = "1 worker(s) were killed due to the node running low on memory."


class Trial(SimpleNamespace):
    """What Tune does to a trial whose process dies."""

    def __init__(self, folder: Path) -> None:
        super().__init__(trial_id="a", num_failures=0, max_failures=MAX_RESTARTS, error_file=str(folder / "error.txt"))

    def dies(self, of: str, restarts: Restarts) -> bool:
        """Whether it is started again."""
        self.num_failures += 1
        with Path(self.error_file).open("a") as file:
            file.write(f"Failure # {self.num_failures} (occurred at noon)\n{of}\n")
        if self.num_failures > self.max_failures:
            return False
        restarts.on_trial_recover(0, [], self)
        return True


def after(epochs: int) -> dict[str, Any]:
    """What a trial answers when it has completed so many."""
    values = {"data": {"root": "/photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 27, "lr": 0.01}
    reports = tuple(
        EpochReport(epoch=epoch, metrics={"val/macro_f1": 0.5}, seconds=1.0, checkpoint="best", ended_by=None)
        for epoch in range(1, epochs + 1)
    )
    config = TrialConfig.model_validate(values)
    running = TrialResult(trial_id="0000", config=config, parameters={}, status=Status.RUNNING, reports=reports)
    return answer(running, done=False)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def test_a_trial_that_dies_in_vain_ends_after_three_tries(trial: Trial):
    rule = Restarts()
    assert [trial.dies(CRASH, rule) for _ in range(3)] == [True, True, False]
    status, reason = rule.verdict("a")
    assert status is Status.FAILED
    assert reason.startswith("its process died 3 times in the same epoch")


def test_a_trial_that_gets_on_is_started_without_end(trial: Trial):
    rule = Restarts()
    for epochs in range(1, 21):
        assert trial.dies(CRASH, rule)
        assert trial.dies(CRASH, rule)
        rule.on_trial_result(0, [], trial, after(epochs))
    assert [trial.dies(CRASH, rule) for _ in range(3)] == [True, True, False]


def test_what_a_checkpoint_shows_again_is_no_progress(trial: Trial):
    rule = Restarts()
    rule.on_trial_result(0, [], trial, after(3))
    deaths = []
    for _ in range(4):
        deaths.append(trial.dies(MEMORY, rule))
        rule.on_trial_result(0, [], trial, after(3))
    assert deaths[:3] == [True, True, False]
    assert rule.verdict("a")[0] is Status.PRUNED_OOM


def test_the_death_of_a_node_is_free(trial: Trial):
    rule = Restarts()
    assert all(trial.dies(NODE, rule) for _ in range(20))
    assert [trial.dies(CRASH, rule) for _ in range(3)] == [True, True, False]


def test_a_process_out_of_reach_is_free_for_a_while(trial: Trial):
    rule = Restarts()
    assert all(trial.dies(UNREACHABLE, rule) for _ in range(MAX_UNREACHABLE))
    assert [trial.dies(UNREACHABLE, rule) for _ in range(3)] == [True, True, False]


def test_want_of_memory_has_its_own_status(trial: Trial):
    rule = Restarts()
    assert [trial.dies(MEMORY, rule) for _ in range(3)] == [True, True, False]
    assert rule.verdict("a")[0] is Status.PRUNED_OOM
    rule.on_trial_result(0, [], trial, after(1))
    assert rule.verdict("a")[0] is Status.FAILED, "that was in an earlier epoch"


def test_tune_is_taught_that_a_killed_process_is_a_dead_one(monkeypatch: pytest.MonkeyPatch):
    seen: list[Any] = []
    monkeypatch.setattr(restarts, "_tunes_own", lambda manager, task, error: seen.append(error))
    monkeypatch.setattr(RayActorManager, "_actor_task_failed", RayActorManager._actor_task_failed)
    Restarts().setup()
    other = RayActorError()
    for error in (OutOfMemoryError(MEMORY), other):
        RayActorManager._actor_task_failed(None, None, error)  # type: ignore[arg-type]
    assert isinstance(seen[0], RayActorError)
    assert MEMORY in str(seen[0])
    assert seen[1] is other

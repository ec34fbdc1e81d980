import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec.sections import Resources, Wandb
from orchestrator.worker.assignment import Assignment, answer, read_answer
from trainables.result import Status, TrialResult


@pytest.fixture
def assignment(trial: Callable[..., TrialResult]) -> Assignment:
    result = trial("0007", [0.5], Status.RUNNING, {"lr": 0.01}, strategy="progressive", unfreeze_epoch=2)
    settings = Wandb(mode="offline")
    resources = Resources(workers=2, epoch_timeout=60)
    run, cache = Path("/runs/s"), Path("/cache")
    return Assignment(
        trial=result, sweep="s", run=run, cache=cache, cache_budget=7, resources=resources, wandb=settings
    )


def test_an_assignment_travels_as_json_text(assignment: Assignment) -> None:
    config = assignment.to_tune()
    assert json.loads(json.dumps(config)) == config
    assert Assignment.from_tune(config) == assignment
    # What Tune adds of its own is no hindrance.
    assert Assignment.from_tune({**config, "trial_id": "abc"}) == assignment


def test_a_trial_works_in_its_run_s_folders(assignment: Assignment) -> None:
    folders = assignment.folders
    assert folders.best == Path("/runs/s/checkpoints/0007/best")
    assert (folders.cache, folders.cache_budget) == (Path("/cache"), 7)
    assert folders.last == Path("/runs/s/checkpoints/0007/last")


@pytest.mark.parametrize("done", [True, False])
def test_an_answer_travels_as_json_text(trial: Callable[..., TrialResult], done: bool) -> None:
    result = trial("0001", [0.1, 0.2], Status.FAILED, {"lr": 1e-3}, failure="NaN in epoch 2")
    told: dict[str, Any] = answer(result, done=done)
    assert told["done"] is done
    assert read_answer({**json.loads(json.dumps(told)), "time_total_s": 3.0}) == result


@pytest.mark.parametrize("result", [None, {}, {"done": True}])
def test_no_answer_yet_is_none(result: Any) -> None:
    assert read_answer(result) is None

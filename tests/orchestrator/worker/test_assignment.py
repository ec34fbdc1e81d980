import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec.sections import Resources
from orchestrator.worker.assignment import Answer, Assignment, EndKind, TrialEnd, read_answer
from trainables.result import Failure, TrialResult
from trainables.status import Status


@pytest.fixture
def assignment(trial: Callable[..., TrialResult]) -> Assignment:
    result = trial("0007", [0.5], Status.RUNNING, {"lr": 0.01}, strategy="progressive", unfreeze_epoch=2)
    resources = Resources(workers=2, epoch_timeout=60)
    run, cache = Path("/runs/s"), Path("/cache")
    return Assignment(trial=result, run=run, cache=cache, cache_budget=7, resources=resources)


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


@pytest.mark.parametrize("end", [None, TrialEnd(kind=EndKind.FAILED, failure=Failure(message="NaN in epoch 2"))])
def test_an_answer_travels_as_json_text(trial: Callable[..., TrialResult], end: TrialEnd | None) -> None:
    answer = Answer(trial=trial("0001", [0.1, 0.2], Status.RUNNING, {"lr": 1e-3}), end=end)
    told: dict[str, Any] = answer.to_tune()
    assert told["done"] is (end is not None)
    assert read_answer({**json.loads(json.dumps(told)), "time_total_s": 3.0}) == answer


@pytest.mark.parametrize("result", [None, {}, {"done": True}])
def test_no_answer_yet_is_none(result: Any) -> None:
    assert read_answer(result) is None

import socket
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.tracking.flat_config import flat_config
from orchestrator.tracking.weights_biases.runs import SentRun, SentRuns
from search_spaces.errors import InvalidInput, ThawError
from trainables.result import TrialResult
from trainables.status import Status


def held(trial: Callable[..., TrialResult], scores: list[float], **changes: Any) -> SentRun:
    config = trial("0007").config
    rows = tuple(
        {"epoch": epoch, "time/epoch_s": 1.5, "val/macro_f1": score} for epoch, score in enumerate(scores, start=1)
    )
    values: dict[str, Any] = {
        "run_id": "a1-0007",
        "name": "0007",
        "job_type": "trial",
        "config": {**flat_config(config), "searched": "lr, unknown"},
        "summary": {"status": "COMPLETED"},
        "tags": ("COMPLETED",),
        "rows": rows,
    }
    return SentRun(**{**values, **changes})


def test_a_run_is_put_in_the_terms_of_a_trial(trial: Callable[..., TrialResult]) -> None:
    found = held(trial, [0.5, 0.75, 0.25]).to_trial("there")
    assert (found.trial_id, found.status, found.objective) == ("0007", Status.COMPLETED, 0.75)
    assert found.parameters == {"lr": found.config.lr}
    assert [report.checkpoint for report in found.reports] == ["best", "best", "last"]
    assert [report.metrics for report in found.reports] == [{"val/macro_f1": value} for value in (0.5, 0.75, 0.25)]


@pytest.mark.parametrize(
    "changes",
    [
        {"summary": {}},
        {"summary": {"status": "DONE"}},
        {"rows": ({"val/macro_f1": 0.5},)},
        {"config": {"lr": 0.1}},
        {"config": {"architecture": "a", "data_root": "/p"}},
    ],
)
def test_a_run_of_another_program_is_named(trial: Callable[..., TrialResult], changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"^there: a1-0007: "):
        held(trial, [0.5], **changes).to_trial("there")


def test_a_service_out_of_reach_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    with pytest.raises(ThawError, match=rf"W&B: http://127.0.0.1:{port} (failed|does not answer) .*; try again later"):
        SentRuns("thaw")

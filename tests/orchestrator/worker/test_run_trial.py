import logging
from pathlib import Path

import pytest

from orchestrator.worker.run_trial import ended_by, start_trial_log, stop_trial_log
from search_spaces.errors import OutOfMemory
from trainables.result import Status


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("one\ntwo"), Status.FAILED, "ValueError: one"),
        (ValueError(), Status.FAILED, "ValueError: no message"),
        (OutOfMemory("a batch must fit"), Status.PRUNED_OOM, "OutOfMemory: a batch must fit"),
    ],
)
def test_an_error_ends_a_trial_in_one_line_and_with_its_traceback(
    error: Exception, status: Status, message: str
) -> None:
    try:
        raise error
    except Exception as raised:
        found, failure = ended_by(raised)
    assert (found, failure.message) == (status, message)
    assert "raise error" in failure.traceback


def test_a_log_has_what_is_said_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "0001.log"
    before = logging.getLogger().handlers[:]
    logger = logging.getLogger("somewhere")
    handler = start_trial_log(path)
    logger.info("first")
    stop_trial_log(handler)
    logger.info("second")
    (line,) = path.read_text().splitlines()
    assert line.endswith("INFO somewhere: first")
    assert logging.getLogger().handlers == before

import logging
from pathlib import Path

import pytest

from orchestrator.worker.assignment import EndKind
from orchestrator.worker.run_trial import end_of, start_trial_log, stop_trial_log
from search_spaces.errors import OutOfMemory


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("one\ntwo"), EndKind.FAILED, "ValueError: one"),
        (ValueError(), EndKind.FAILED, "ValueError: no message"),
        (OutOfMemory("a batch must fit"), EndKind.OUT_OF_MEMORY, "OutOfMemory: a batch must fit"),
    ],
)
def test_an_error_ends_a_trial_in_one_line_and_with_its_traceback(
    error: Exception, kind: EndKind, message: str
) -> None:
    try:
        raise error
    except Exception as raised:
        end = end_of(raised)
    assert end.kind is kind
    assert end.failure is not None
    assert end.failure.message == message
    assert "raise error" in end.failure.traceback


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

import logging
from pathlib import Path

import pytest

from orchestrator.driver.sweep_log import log_to


def test_messages_of_a_sweep_go_to_its_log_for_the_time_of_the_block(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, logger = tmp_path / "logs" / "sweep.log", logging.getLogger("orchestrator.driver.sweep")
    names = ("ray", "optuna", "orchestrator", "trainables")
    before = [(logging.getLogger(name).handlers, logging.getLogger(name).propagate) for name in names]
    with log_to(path):
        logger.info("12 trials to go")
        logging.getLogger("trainables.loop").warning("features are not cached")
        logging.getLogger("elsewhere").warning("not ours")
    logger.warning("afterwards")
    lines = [line.split(" ", 2)[2] for line in path.read_text().splitlines()]
    assert lines == [
        "INFO orchestrator.driver.sweep: 12 trials to go",
        "WARNING trainables.loop: features are not cached",
    ]
    assert [message for _, _, message in caplog.record_tuples] == ["not ours", "afterwards"]
    assert [(logging.getLogger(name).handlers, logging.getLogger(name).propagate) for name in names] == before


def test_an_error_leaves_the_loggers_as_they_were(tmp_path: Path) -> None:
    logger = logging.getLogger("orchestrator")
    before = (logger.handlers, logger.propagate)
    with pytest.raises(ValueError, match="bad"), log_to(tmp_path / "sweep.log"):
        raise ValueError("bad")
    assert (logger.handlers, logger.propagate) == before


def test_the_steps_of_a_client_are_left_out_and_its_warnings_stay(tmp_path: Path) -> None:
    client = logging.getLogger("wandb.sdk.internal")
    client.setLevel(logging.DEBUG)
    with log_to(tmp_path / "sweep.log"):
        client.info("a step")
        client.warning("a warning")
    text = (tmp_path / "sweep.log").read_text()
    assert ("a step" in text, "a warning" in text) == (False, True)

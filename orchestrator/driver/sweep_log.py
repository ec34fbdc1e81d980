"""Log of a sweep: messages of Ray, Optuna and Thaw are written to a file of the run instead of the terminal."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from orchestrator.worker.log_file import LogFile


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Send the log messages of this process to `path` for the time of the block."""
    handler = LogFile(path, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.addFilter(_is_for_users)
    loggers = [
        logging.getLogger(name) for name in ("ray", "optuna", "wandb", "opentelemetry", "orchestrator", "trainables")
    ]
    former = [(logger, logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
    logging.getLogger("orchestrator").setLevel(logging.INFO)
    # Tune warns at the end that it finds no result files: the ledger takes their place.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, handlers, propagate in former:
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()


def _is_for_users(record: logging.LogRecord) -> bool:
    """Leave out the steps of W&B's client: a dozen lines per trial, which stand in its own log beside each run."""
    return record.name.partition(".")[0] != "wandb" or record.levelno >= logging.WARNING

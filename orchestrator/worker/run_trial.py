"""Run of a trial in a process, be it the only one or one of several: its begin, and the reason of its end."""

import faulthandler
import gc
import logging
import os
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.worker.assignment import Assignment, EndKind, TrialEnd
from orchestrator.worker.log_file import LogFile
from search_spaces.errors import OutOfMemory
from search_spaces.redaction import redact
from trainables.result import EpochReport, Failure
from trainables.storage.folders import TrialFolders

log = logging.getLogger("orchestrator")

StartedTrial = tuple[tuple[EpochReport, ...], Iterator[EpochReport]]


def begin(assignment: Assignment) -> StartedTrial:
    """Return the epochs of a trial that its last checkpoint has, if any, and the iterator of the epochs to come.

    A checkpoint of another configuration is not used, but replaced: a driver that did not know yet that another had
    taken its place has begun a trial under the same number, which does not count. The first call in a process imports
    packages, which takes seconds. The iterator has done nothing yet.
    """
    from trainables.checkpoint_state import CheckpointState
    from trainables.data.recent_arrays import recent_arrays
    from trainables.loop import checkpoint
    from trainables.loop.train import train
    from trainables.processor import give_back_memory, use_processor

    _spare_the_collector()
    give_back_memory()  # of the last trial
    use_processor(assignment.resources.threads)
    config, folders = assignment.trial.config, assignment.folders
    began_with: dict[str, Any] = {"fingerprint": assignment.fingerprint, "sources": assignment.sources}
    began_with |= {"open_images": recent_arrays, "keeps_newest": assignment.keeps_newest}
    if os.environ.get("RANK", "0") == "0":  # of several ranks, one writes
        checkpoint.begin_attempt(folders.checkpoints)
    state = CheckpointState.read(folders.last) if checkpoint.exists(folders.last) else None
    if state is not None and state.config != config:
        log.warning("its checkpoint is that of another trial, of a driver that had been replaced: begun anew")
        state = None
    if state is None:
        return (), _attempt(folders, train(config, folders, metrics_version=assignment.metrics_version, **began_with))
    return state.reports, _attempt(folders, train(config, folders, folders.last, **began_with))


def _attempt(folders: TrialFolders, epochs: Iterator[EpochReport]) -> Iterator[EpochReport]:
    from trainables.loop.checkpoint import end_attempt

    try:
        yield from epochs
    finally:
        end_attempt(folders.checkpoints)


def log_epoch(report: EpochReport) -> None:
    """Write the metrics of an epoch to the log."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in report.metrics.items())
    log.info("epoch %d: %s (%.1f s)", report.epoch, values, report.seconds)


def end_of(error: Exception) -> TrialEnd:
    """Return the end of a trial that has raised `error`, within its handler. The log is not named yet."""
    message = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {message[0] if message else 'no message'}"
    failure = Failure(message=redact(text), traceback=redact(traceback.format_exc()))
    return TrialEnd(kind=EndKind.OUT_OF_MEMORY if isinstance(error, OutOfMemory) else EndKind.FAILED, failure=failure)


def start_trial_log(path: Path) -> LogFile:
    """Write the messages of this process to a trial's log, until `stop_trial_log`."""
    handler = LogFile(path, "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s")
    # The traceback of a crash in native code is written here too, not in Ray's files on some node.
    assert handler.stream is not None  # opened at once
    # Ray's own handler comes first where it was installed last, and can itself crash before it passes the signal on.
    faulthandler.disable()
    faulthandler.enable(handler.stream, all_threads=False)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    return handler


def stop_trial_log(handler: logging.Handler) -> None:
    """Close the log that `start_trial_log` has opened."""
    faulthandler.disable()
    logging.getLogger().removeHandler(handler)
    handler.close()


@cache
def _spare_the_collector() -> None:
    """Exclude the objects of the imports, which are never garbage, from every collection, once per process.

    Accelerate collects garbage at every thaw, and a pass over all these objects takes longer than a short trial.
    """
    gc.freeze()

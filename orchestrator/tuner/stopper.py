"""SweepStopper: early end of a sweep, on request, by a budget, for a bad node or for failed storage."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from ray import tune

from analysis.run_folder import RunFolder
from orchestrator.cluster.joining_nodes import JoiningNodes
from orchestrator.tuner.budget_meter import BudgetMeter
from search_spaces.errors import StorageFailed, ThawError
from trainables.storage.place import disk_is_full

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


class SweepStopper(tune.Stopper):
    """SweepStopper: stops a sweep at once on request; lets each trial finish its epoch where a budget is used up."""

    def __init__(self, run: RunFolder, meter: BudgetMeter, on_closing: Callable[[str], None]) -> None:
        """Start the clock; `on_closing` is called, once, with the reason for which no more trials begin."""
        self._run = run
        self._meter = meter
        self._on_closing: Callable[[str], None] | None = on_closing
        self._begun = time.monotonic()
        self._polled = 0.0
        self._stop = False
        self.joining_nodes: JoiningNodes | None = None
        self.ended: str | None = None
        """Budget that is used up, with its figures; None while none is."""
        self.failed: ThawError | None = None
        """Reason for which nothing more can be written: failed storage, or another driver."""
        self.complaint: str | None = None
        """Fault of a node that has joined."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its stopper, but a resumed sweep has one of its own."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether an epoch, which Tune has just received, was the trial's last one."""
        return self.is_over()

    def is_over(self) -> bool:
        """Return whether a budget is used up."""
        return self.ended is not None

    @property
    def is_stopped(self) -> bool:
        """True where the sweep ends at once: on request, for a bad node, or because the storage failed."""
        return self._stop

    @property
    def driven_seconds(self) -> float:
        """Seconds with a driver at work: this one and those before it."""
        return self._meter.seconds + self._elapsed

    def stop_all(self) -> bool:
        """Look for a reason to stop, as Tune asks in every turn of its loop; return whether to stop at once."""
        try:
            self._look(time.monotonic())
        except StorageFailed as error:
            self.give_up(error)
        reason = self._reason()
        if reason is not None and self.failed is None and self._on_closing is not None:
            self._on_closing(reason)
            self._on_closing = None
        return self._stop

    def request_stop(self) -> None:
        """Stop the sweep at once, as `thaw stop` does from another process."""
        self._stop = True
        self._run.stop_request.touch()

    def give_up(self, error: ThawError) -> None:
        """Stop the sweep because nothing more can be written; the first reason is kept."""
        if self.failed is None:
            log.error("%s", error)
        self.failed = self.failed or error
        self._stop = True

    @contextlib.contextmanager
    def giving_up(self) -> Iterator[None]:
        """Call `give_up` where Tune or Optuna fail because of the storage: their files can be rebuilt elsewhere."""
        try:
            yield
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, StorageFailed) and not disk_is_full(cause):
                cause = cause.__cause__ or cause.__context__
            if cause is None:
                raise
            self.give_up(cause if isinstance(cause, StorageFailed) else StorageFailed(f"the disk is full: {cause}"))

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _look(self, now: float) -> None:
        if not self.is_over():
            self.ended = self._meter.exhausted(self._elapsed)
            if self.ended is not None:
                log.info("%s", self.ended)
        if not self._stop and now - self._polled > POLL_SECONDS:
            self._polled = now
            self._stop = self._run.stop_request.exists()
            if not self.is_over():
                self.complaint = self.joining_nodes.complaint() if self.joining_nodes else None
                if self.complaint:
                    self.request_stop()

    def _reason(self) -> str | None:
        """Return the reason for which no more trials begin; None while they do."""
        if self.failed is not None or self.complaint is not None:
            return str(self.failed or self.complaint)
        return "asked to stop" if self._stop else self.ended

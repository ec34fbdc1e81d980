"""What ends a sweep before its trials are done: a person, a machine that goes, a bad node, a budget, a full disk."""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ray import tune

from analysis import heartbeat
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from orchestrator.cluster.joining_nodes import JoiningNodes
from orchestrator.spec.budget import BudgetMeter
from orchestrator.tracking.observer import OnEnding, silent
from search_spaces.errors import StorageFailed
from trainables.storage.place import disk_is_full

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
POLL_SECONDS = 0.5
NOTE_SECONDS = 60.0
_LATER = b"each trial after its epoch"
_ENDING = (signal.SIGINT, signal.SIGTERM)


class Watch(tune.Stopper):
    """Shows that the driver lives, and ends the sweep when somebody asks for it or a budget is used up.

    Who asks is a person, by Ctrl-C or `thaw stop`, or a machine, by the signal that comes before it is taken away.

    A person's Ctrl-C or `thaw stop` ends it at once. Where a budget is used up nothing new is begun, and each trial
    ends with the epoch that it is at.
    """

    def __init__(self, run: RunFolder, spent: BudgetMeter, on_ending: OnEnding = silent) -> None:
        """`on_ending` is told, once, why no more trials are begun; epochs that run may take their time."""
        self.run = run
        self.spent = spent
        self.ended: str | None = None
        self._on_ending: OnEnding | None = on_ending
        self._begun = time.monotonic()
        self._polled = self._noted = 0.0
        self._left = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.failed: StorageFailed | None = None
        self._stop = False
        self.joining_nodes: JoiningNodes | None = None
        self.complaint: str | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Watch":
        self.run.stop_request.unlink(missing_ok=True)
        heartbeat.beat(self.run)
        self._beating.start()
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._on_interrupt) for number in _ENDING}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        self._left.set()
        self._beating.join()
        try:
            self._publish_log()
            self.run.stop_request.unlink(missing_ok=True)
            self._note()
        except StorageFailed as error:
            self.give_up(error)
        finally:
            heartbeat.clear(self.run)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what ends it, but a resumed sweep has a watch of its own."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Called by Tune with each epoch of a trial; whether it was the last one."""
        return self.is_over()

    def is_over(self) -> bool:
        """Whether a budget is used up."""
        return self.ended is not None

    @property
    def is_stopped(self) -> bool:
        """Whether the sweep was ended at once: a person asked for it, a node is bad, or the storage failed."""
        return self._stop

    def stop_all(self) -> bool:
        """Called by Tune in every turn of its loop."""
        try:
            self._look_around(time.monotonic())
        except StorageFailed as error:
            self.give_up(error)
        reason = self._reason()
        if reason is not None and self._on_ending is not None:
            self._on_ending(reason)
            self._on_ending = None
        return self._stop

    def _reason(self) -> str | None:
        """Why no more trials are begun; None while some are."""
        if self.failed is not None or self.complaint is not None:
            return str(self.failed or self.complaint)
        return "asked to stop" if self._stop else self.ended

    def _beat(self) -> None:
        """Show that the driver lives, whatever it is busy with: a look at the nodes takes minutes, a proposal may."""
        while not self._left.wait(BEAT_SECONDS):
            try:
                heartbeat.beat(self.run)
                self._publish_log()
            except StorageFailed as error:
                self.give_up(error)

    def _look_around(self, now: float) -> None:
        if now - self._noted > NOTE_SECONDS:
            self._noted = now
            self._note()
        if not self.is_over():
            self.ended = self.spent.exhausted(now - self._begun)
            if self.ended is not None:
                log.info("%s", self.ended)
                # The workers see by it that ASHA has not stopped their trials.
                self.run.stop_request.write_bytes(_LATER)
        if not self._stop and now - self._polled > POLL_SECONDS:
            self._polled = now
            self._stop = self._is_asked_to_end()
            if not self.is_over():
                self.complaint = self.joining_nodes.complaint() if self.joining_nodes else None
                if self.complaint:
                    self._ask_to_end()

    def _is_asked_to_end(self) -> bool:
        """Whether a person has asked to end at once; a used-up budget has not."""
        try:
            return self.run.stop_request.read_bytes() != _LATER
        except FileNotFoundError:
            return False

    def give_up(self, error: StorageFailed) -> None:
        """End the sweep for want of storage; the first reason is the one that is told."""
        if self.failed is None:
            log.error("%s", error)
        self.failed = self.failed or error
        self._stop = True

    @contextlib.contextmanager
    def giving_up(self) -> Iterator[None]:
        """Give up on what Tune or Optuna raise for want of storage: what they write can be rebuilt elsewhere."""
        try:
            yield
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, StorageFailed) and not disk_is_full(cause):
                cause = cause.__cause__ or cause.__context__
            if cause is None:
                raise
            self.give_up(cause if isinstance(cause, StorageFailed) else StorageFailed(f"the disk is full: {cause}"))

    def _publish_log(self) -> None:
        if self.run.here(self.run.sweep_log).exists():
            RunStore(self.run).publish(self.run.sweep_log)

    def _note(self) -> None:
        """Say in the run's record how long it has been driven, and what ended it."""
        ledger = Ledger(self.run)
        seconds = self.spent.seconds + time.monotonic() - self._begun
        ledger.write_run(ledger.read_run().model_copy(update={"driven_seconds": seconds, "ended": self.ended}))

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Ask for a clean end; a second Ctrl-C is the ordinary one."""
        self._ask_to_end()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _ask_to_end(self) -> None:
        self._stop = True
        self.run.stop_request.touch()

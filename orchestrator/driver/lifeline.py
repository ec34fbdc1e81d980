"""Lifeline: signals to the driver, its published log, and the record of its time, for the time of a block."""

import logging
import signal
import threading
import time
from types import FrameType
from typing import Any, Self

from analysis.heartbeat import BEAT_SECONDS
from analysis.ledger import Ledger
from analysis.run_store import RunStore
from orchestrator.tuner.stopper import SweepStopper
from search_spaces.errors import StorageFailed, ThawError

log = logging.getLogger(__name__)

NOTE_SECONDS = 60.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Lifeline:
    """Lifeline: publishes the state of a driver while it works, and turns Ctrl-C and SIGTERM into a request to stop.

    A machine sends SIGTERM before it is removed.
    """

    def __init__(self, ledger: Ledger, stopper: SweepStopper) -> None:
        """Prepare the thread; `ledger` is the driver's own, so that its writes and the lifeline's take turns."""
        self._run = ledger.run
        self._ledger = ledger
        self._stopper = stopper
        self._noted = time.monotonic()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._live, name="lifeline", daemon=True)
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        self._left.set()
        self._thread.join()
        try:
            self._publish_log()
            self._run.stop_request.unlink(missing_ok=True)
            self._note()
        except StorageFailed as error:
            self._stopper.give_up(error)

    def _live(self) -> None:
        while not self._left.wait(BEAT_SECONDS):
            try:
                self._publish_log()
                if time.monotonic() - self._noted > NOTE_SECONDS:
                    self._note()
            except StorageFailed as error:
                self._stopper.give_up(error)
            except ThawError as error:  # a record that cannot be read now may be readable at the next turn
                log.warning("%s", error)

    def _publish_log(self) -> None:
        if self._run.here(self._run.sweep_log).exists():
            RunStore(self._run).publish(self._run.sweep_log)

    def _note(self) -> None:
        """Write the driven seconds, and the budget that ended the run, into its record."""
        self._noted = time.monotonic()
        self._ledger.update_run(driven_seconds=self._stopper.driven_seconds, ended=self._stopper.ended)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Request a clean end; a second Ctrl-C interrupts as usual."""
        self._stopper.request_stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

"""DriverWatch: state of a run's driver, read again and again without waiting."""

import time

from analysis import heartbeat
from analysis.heartbeat import BEAT_SECONDS, Heartbeat, Presence
from trainables.storage.place import Place

PATIENCE = 2.5 * BEAT_SECONDS


class DriverWatch:
    """DriverWatch: the driver of one run, as it was seen between the calls."""

    def __init__(self, run: Place) -> None:
        self._run = run
        self._last: Heartbeat | None = None
        self._changed = 0.0

    def at_work(self) -> Heartbeat | None:
        """Return the driver that is at work; None without one. Raises InvalidInput when its file is damaged.

        A driver on another machine counts as at work until its heartbeat has not changed for `PATIENCE` seconds on
        this machine's clock, as in `heartbeat.is_alive`.
        """
        now = heartbeat.read(self._run)
        if now != self._last:
            self._last, self._changed = now, time.monotonic()
        if now is None or now.is_over:
            return None
        is_silent = time.monotonic() - self._changed > PATIENCE
        return None if is_silent and now.presence() is Presence.UNKNOWN else now

"""LivePart: part of a page, shared by all browsers that have it open."""

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass

from orchestrator.serve.refresher import Lane, Refresher

INTERVAL = 0.9
"""Seconds between two renewals: a little less than the second between two requests of a page."""
# A text that takes longer is sent with the next request.
_PATIENCE = 0.5


@dataclass(frozen=True)
class Rendered:
    """Rendered: a text and its version."""

    text: str
    """HTML of the part."""

    content: bytes
    """The text as it is sent; a name on a disk may hold bytes that are no UTF-8."""

    tag: str
    """Entity tag, as in HTTP: equal for equal texts."""

    @classmethod
    def of(cls, text: str) -> "Rendered":
        """Return the text with the tag of its bytes."""
        content = text.encode("utf-8", "backslashreplace")
        return cls(text, content, f'"{hashlib.sha256(content).hexdigest()[:20]}"')


class LivePart:
    """LivePart: part of a page, renewed on request, at most once per interval."""

    def __init__(self, refresher: Refresher, renew: Callable[[], str], interval: float = INTERVAL) -> None:
        """Keep the thread on which `renew` is called, which returns the text, and the least seconds between calls."""
        self._refresher = refresher
        self._renew = renew
        self._interval = interval
        self._lock = threading.Lock()
        self._rendered: Rendered | None = None
        self._renewal: Future[None] | None = None
        self._asked = 0.0

    def current(self) -> Rendered:
        """Return the newest text; the first caller waits for it. Raises the error of a renewal that failed."""
        with self._lock:
            now = time.monotonic()
            if self._renewal is None or (self._renewal.done() and now - self._asked >= self._interval):
                lane = Lane.FIRST if self._rendered is None else Lane.QUICK
                self._renewal, self._asked = self._refresher.ask(lane, self._update), now
            renewal = self._renewal
        wait([renewal], None if self._rendered is None else _PATIENCE)
        if renewal.done():
            renewal.result()
        assert self._rendered is not None
        return self._rendered

    def put(self, text: str) -> None:
        """Replace the text."""
        if self._rendered is None or text != self._rendered.text:
            self._rendered = Rendered.of(text)

    def _update(self) -> None:
        self.put(self._renew())

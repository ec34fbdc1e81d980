"""Observer: whoever follows a sweep while it runs."""

from collections.abc import Callable
from typing import Protocol

from trainables.result import TrialResult


class Progress(Protocol):
    """Told of every change of a trial."""

    def __call__(self, trial: TrialResult, /) -> None:
        """A trial has begun, completed an epoch, or ended."""


OnEnding = Callable[[str], None]
"""Told why no more trials are begun, while those that run end their epoch."""


def silent(news: object) -> None:
    """Show nothing."""

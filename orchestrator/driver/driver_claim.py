"""Claim of a run for the time of a block, with its heartbeat, and the check that no other process drives the run."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from analysis import heartbeat
from analysis.claim import Claim, claim_run
from analysis.heartbeat import BEAT_SECONDS, DEATH_SECONDS, Heartbeat
from analysis.run_folder import RunFolder, open_run
from orchestrator.cluster.node_checks import kept_if_used
from orchestrator.cluster.ray_watch import RayDied
from search_spaces.errors import InvalidInput, StorageFailed, ThawError
from search_spaces.shell import thaw_command
from trainables.storage.place import Place

log = logging.getLogger(__name__)


class Superseded(ThawError):
    """Superseded: another driver has taken the run over. What this process writes from then on is ignored."""


class BeatingClaim:
    """BeatingClaim: a claim whose heartbeat a thread renews, until `stop`."""

    def __init__(self, claim: Claim, named: Place) -> None:
        """Start the thread; `named` is the user's name for the run, for messages."""
        self._claim = claim
        self.named = named
        self._left = threading.Event()
        self._on_problem: Callable[[ThawError], None] = lambda _error: None
        self.problem: ThawError | None = None
        """First reason for which this process may not or cannot write any more."""
        self._thread = threading.Thread(target=self._live, name="heartbeat", daemon=True)
        self._thread.start()

    def open(self) -> RunFolder:
        """Begin to write; see `Claim.open`."""
        return self._claim.open()

    def watch(self, on_problem: Callable[[ThawError], None]) -> None:
        """Call `on_problem`, from another thread or at once, when the process may not or cannot write any more."""
        self._on_problem = on_problem
        if self.problem is not None:
            on_problem(self.problem)

    def report(self, error: ThawError) -> None:
        """Keep the first reason for which the process may not or cannot write any more, and call back."""
        self.problem = self.problem or error
        self._on_problem(error)

    def stop(self) -> None:
        """Stop the thread, and wait for it."""
        self._left.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._left.wait(BEAT_SECONDS):
            try:
                self._claim.beat()
                newer = self._claim.successor()
                if newer is not None:
                    self.report(Superseded(_superseded(self.named, newer)))
                    return
            except StorageFailed as error:
                self.report(error)
            except ThawError as error:  # a record that cannot be read now may be readable at the next beat
                log.warning("%s", error)


@contextmanager
def claimed(place: Place, before: Heartbeat | None, cache: Path | None) -> Iterator[BeatingClaim]:
    """Claim the run at `place` for the time of the block; `before` is its newest driver, of `check_not_driven`.

    A claim under which nothing was written is deleted. Raises InvalidInput naming the other process where one was
    faster; then nothing was written.
    """
    # Resolved, since Ray is started from another folder.
    run = RunFolder(place.resolve(), cache)
    with kept_if_used(run.local):
        claim = claim_run(run, before)
        if claim is None:
            raise InvalidInput(driven(place, heartbeat.read(place)))
        beating = BeatingClaim(claim, place)
        try:
            yield beating
        except BaseException as error:
            # After Ctrl-C, and after an error that was not foreseen, workers may still be running.
            _leave(claim, beating, has_ended=isinstance(error, ThawError))
            raise
        _leave(claim, beating)


@contextmanager
def claimed_winner(folder: Place) -> Iterator[None]:
    """Claim the winner of the run at `folder` for the time of the block, to retrain or export it.

    Raises InvalidInput where there is no run, and naming the other process where one works on the winner.
    """
    run = open_run(folder)
    place = run.root / ".winner"
    with ExitStack() as stack:
        try:
            stack.enter_context(claimed(place, check_not_driven(place), run.cache))
        except InvalidInput as error:
            other = heartbeat.read(place)
            who = "another process" if other is None else other.who
            raise InvalidInput(
                f"{folder}: one process at a time may retrain or export the winner, or send it to W&B, but {who} does; "
                "wait for its end"
            ) from error
        yield


def check_not_driven(named: Place, say: Callable[[str], None] = lambda _text: None) -> Heartbeat | None:
    """Return the newest driver of a run, which is dead; None where there was none. `say` gets the time of a wait.

    Raises InvalidInput when a driver is at work. Where that cannot be known at once, its heartbeat is watched.
    """
    while True:
        last = heartbeat.read(named)
        if last is not None and not last.is_over:
            say(f"{named}: {last.who} drives this run, or did; waiting at most {DEATH_SECONDS:.0f} s for its heartbeat")
            if not heartbeat.is_silent(named, last):
                raise InvalidInput(driven(named, heartbeat.read(named)))
        # Read again: it may have written between the first reading and its end, or withdrawn its claim.
        if heartbeat.read(named) == last:
            return last


def driven(named: Place, driver: Heartbeat | None) -> str:
    """Return the message for a run that another process drives, or has just driven."""
    rule = f"{named}: a run must have one driver, but"
    if driver is None or driver.is_over:
        who = "another process" if driver is None else driver.who
        return f"{rule} {who} has driven it in the meantime; try again"
    return f"{rule} {driver.who} drives it; see `{thaw_command('status', named)}`"


def _superseded(named: Place, newer: Heartbeat) -> str:
    return (
        f"{named}: a driver must show a heartbeat within {DEATH_SECONDS:.0f} s, but this process did not: {newer.who} "
        "drives the run now, and what this process did since does not count; "
        f"follow it with `{thaw_command('status', named)}`"
    )


def _leave(claim: Claim, beating: BeatingClaim, *, has_ended: bool = True) -> None:
    beating.stop()
    try:
        if not claim.is_used:
            claim.withdraw()
        elif has_ended and not isinstance(beating.problem, Superseded | RayDied):
            claim.end()
    except StorageFailed as error:  # the next driver waits until the heartbeat has been silent
        log.warning("%s", error)

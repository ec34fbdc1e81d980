"""Claim of a run by its driver: atomic, numbered, and stronger than any driver before.

A claim is the creation of the driver's own heartbeat file, which succeeds in one process only. Where the driver before
did not end cleanly, the claim begins a new generation: the files that are written from then on have other names than
those that the old driver, should it wake up, can still write. A lease that expires is not enough for that; see
Kleppmann, "How to do distributed locking" (2016), on fencing tokens.
"""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from analysis.heartbeat import Heartbeat, read
from analysis.ledger import Ledger, read_record, record_text, write_record
from analysis.run_folder import FIRST_GENERATION, Generation, RunFolder, claimed_run
from analysis.run_store import create_exclusively
from search_spaces.errors import InvalidInput


class Claim:
    """Claim: right of this process to write to a run. `claim_run` makes it; `end` or `withdraw` gives it up."""

    def __init__(self, run: RunFolder, heartbeat: Heartbeat) -> None:
        """Keep the run as its driver writes it, and the heartbeat that has been created."""
        self.run = run
        self.is_used = False
        """True once something was written under it."""
        self._heartbeat = heartbeat
        self._lock = threading.Lock()

    def open(self) -> RunFolder:
        """Begin to write: settle which earlier records count, and copy those that this driver will change.

        Returns the run in its newest generation. A record that an earlier driver adds from now on is ignored. Raises
        StorageFailed when the place cannot be written. The second call does nothing.
        """
        if self.is_used:
            return self.run
        self.is_used = True
        *earlier, newest = self.run.generations
        if newest.first_trial is None:
            newest = newest._replace(first_trial=Ledger(self.run).next_number())
            self.run = replace(self.run, generations=(*earlier, newest))
            self.beat(generations=self.run.generations)
        if earlier:
            ledger = Ledger(self.run)
            ledger.adopt(trial for trial in ledger.trials() if trial.status.unfinished)
        return self.run

    def beat(self, **changes: Any) -> None:
        """Renew the heartbeat, with changes of its fields. Raises StorageFailed when it cannot be written."""
        with self._lock:
            changes |= {"beat": datetime.now(UTC), "beats": self._heartbeat.beats + 1}
            self._heartbeat = self._heartbeat.model_copy(update=changes)
            write_record(self.run.heartbeat, self._heartbeat)

    def successor(self) -> Heartbeat | None:
        """Return the driver that has taken the run over; None while this one is the newest."""
        newest = read(self.run.root)  # not the next number alone: its claim may have been withdrawn
        return newest if newest is not None and newest.driver > self.run.driver else None

    def end(self) -> None:
        """Record that this driver and its workers write nothing more; the next one continues its generation."""
        self.beat(ended=True)

    def withdraw(self) -> None:
        """Delete a claim under which nothing was written. Another process may then claim its number."""
        self.run.heartbeat.unlink(missing_ok=True)
        self.run.stop_request.unlink(missing_ok=True)


def claim_run(run: RunFolder, before: Heartbeat | None) -> Claim | None:
    """Claim `run` for this process as its next driver; return None where another process was faster.

    `before` is the newest driver as the caller has read it; it must be dead. Where it shows life since, the claim fails
    too. Raises StorageFailed when the place cannot be written.
    """
    following = _following(run, before)
    heartbeat = Heartbeat.of_this_process(following)
    if read(run.root) != before or not create_exclusively(following.heartbeat, record_text(heartbeat)):
        return None
    claim = Claim(following, heartbeat)
    if _stands(following, before):
        return claim
    claim.withdraw()
    return None


def _stands(following: RunFolder, before: Heartbeat | None) -> bool:
    """Return whether a claim follows on the newest driver.

    The number of a withdrawn claim is free again. A process that has slept since it read the run may therefore create a
    claim that is older than the newest, or that follows on one that is another's now. Of two such claims, each is
    created before its own check, so that at most one of them stands.
    """
    if claimed_run(following.root).driver != following.driver:
        return False
    if before is None:
        return True
    try:
        return read_record(replace(following, driver=before.driver).heartbeat, Heartbeat).key == before.key
    except InvalidInput:  # withdrawn: its number can be claimed no more, since this one is newer
        return True


def _following(run: RunFolder, before: Heartbeat | None) -> RunFolder:
    """Return the run as its next driver writes it."""
    if before is None:
        return replace(run, driver=1, generations=FIRST_GENERATION)
    number = before.driver + 1
    generations = before.generations if before.ended else (*before.generations, Generation(number, None))
    return replace(run, driver=number, generations=generations)

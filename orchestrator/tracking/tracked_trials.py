"""TrackedTrials: the ends of trials that trackers have recorded, so that a resumed run gives them what they lack."""

import json
from contextlib import suppress
from pathlib import Path

from search_spaces.user_files import RECORD, read_user_file
from trainables.status import Status


class TrackedTrials:
    """TrackedTrials: for each tracker the trials it has finished, in a file of one line each.

    A driver that is killed has trials in its ledger whose end no tracker has seen.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; raises InvalidInput where something else has its place."""
        self._path = path
        self._statuses: dict[tuple[str, str], str] = {}
        for line in read_user_file(path, RECORD).splitlines() if path.exists() else ():
            with suppress(ValueError):  # the first one is empty, others may have been cut by a kill
                tracker, trial, status = json.loads(line)
                self._statuses[tracker, trial] = status

    def has(self, tracker: str, trial: str, status: Status) -> bool:
        """Return whether the tracker has recorded that the trial ended with the status."""
        return self._statuses.get((tracker, trial)) == status.value

    def add(self, tracker: str, trial: str, status: Status) -> None:
        """Record it. Raises OSError when the file cannot be written."""
        self._statuses[tracker, trial] = status.value
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # One write, as each tracker has a thread of its own; a line begins anew also after one that was cut.
        with self._path.open("a") as file:
            file.write("\n" + json.dumps([tracker, trial, status.value]))

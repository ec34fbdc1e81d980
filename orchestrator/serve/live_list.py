"""LiveList: the runs of a folder, and the part of the page that lists them."""

import hashlib
import re
import time

from analysis.report.live_page import ListedRun, list_part
from analysis.report.run_summary import RunSummary
from orchestrator.serve.live_part import INTERVAL, LivePart
from orchestrator.serve.live_run import LiveRun
from orchestrator.serve.record_versions import is_run
from orchestrator.serve.refresher import Refresher
from orchestrator.serve.run_watch import RunState
from search_spaces.errors import InvalidInput, ThawError
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place

_PLAIN = re.compile(r"\w[\w.-]*", re.ASCII)
# Several requests per run: a bucket is asked less often than a disk.
_BUCKET_INTERVAL = 5.0
# A longer look at many runs is continued at the next renewal.
_LOOK_SECONDS = 1.0


class LiveList:
    """LiveList: the runs of a folder, found again at every renewal; or one run alone."""

    def __init__(self, root: Place, refresher: Refresher) -> None:
        """Keep the folder. Raises OSError or StorageFailed when it cannot be listed."""
        self.root = root
        self.is_one_run = is_run(root)
        """True where the folder is itself a run."""
        interval = _BUCKET_INTERVAL if isinstance(root, BucketPath) else INTERVAL
        self.part = LivePart(refresher, self._renew, interval)
        self._refresher = refresher
        self._runs: dict[str, LiveRun] = {}
        self._rows: dict[str, ListedRun] = {}
        self._looked: dict[str, float] = {}

    def run(self, key: str) -> LiveRun | None:
        """Return the run with this key; None where the folder has none.

        Raises InvalidInput or StorageFailed when it cannot be listed.
        """
        if key not in self._runs:
            places = {key_of(self.root.name): self.root} if self.is_one_run else self._places()
            if key not in places or not _may_be_run(places[key]):
                return None
            self._runs.setdefault(key, LiveRun(places[key], self._refresher))
        return self._runs[key]

    def states(self) -> list[RunState]:
        """Return the newest state of each run. Raises InvalidInput or StorageFailed when they cannot be listed."""
        keys = [key for key, place in self._places().items() if _may_be_run(place)]
        found = [run for key in sorted(keys) if (run := self.run(key)) is not None]
        return [run.watch.state() for run in found]

    def _places(self) -> dict[str, Place]:
        try:
            return {key_of(child.name): child for child in self.root.iterdir()}
        except OSError as error:
            rule = f"{self.root}: must be a readable folder, got: {error.strerror or error}"
            raise InvalidInput(f"{rule}; restore it, or start the dashboard on another one") from error

    def _renew(self) -> str:
        try:
            found = {key: place for key, place in self._places().items() if _may_be_run(place)}
        except ThawError as error:
            return list_part(str(self.root), list(self._rows.values()), str(error))
        deadline = time.monotonic() + _LOOK_SECONDS
        for key in sorted(found, key=lambda key: self._looked.get(key, 0.0)):
            if self._looked and time.monotonic() > deadline:
                break
            run = self._runs.setdefault(key, LiveRun(found[key], self._refresher))
            self._rows[key], self._looked[key] = _row(key, run), time.monotonic()
        unread = "is read in a moment"
        rows = [self._rows.get(key, ListedRun(_link(key), place.name, None, unread)) for key, place in found.items()]
        return list_part(str(self.root), sorted(rows, key=_newest_first))


def key_of(name: str) -> str:
    """Return the part of an address that stands for a run: its name, or a hash of one with odd characters."""
    if _PLAIN.fullmatch(name):
        return name
    return f"~{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def _may_be_run(place: Place) -> bool:
    """Return whether a folder is a run, or cannot be listed, which its row then says."""
    try:
        return is_run(place)
    except (ThawError, OSError):
        return True


def _row(key: str, run: LiveRun) -> ListedRun:
    state = run.watch.state()
    summary = None if state.data is None else RunSummary.of(state.data)
    return ListedRun(_link(key), run.place.name, summary, state.problem)


def _link(key: str) -> str:
    return f"/runs/{key}/"


def _newest_first(row: ListedRun) -> tuple[bool, float, str]:
    return row.summary is None, -row.summary.created.timestamp() if row.summary else 0.0, row.name

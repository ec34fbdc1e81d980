"""RunWatch: the records of one run, read again only when they have changed."""

from dataclasses import dataclass

from analysis.leaderboard import Leaderboard
from analysis.ledger import WatchedLedger
from analysis.report.panel import RunData
from analysis.run_folder import open_run
from orchestrator.serve.driver_watch import DriverWatch
from orchestrator.serve.record_versions import RecordVersions, record_versions
from search_spaces.errors import ThawError
from trainables.storage.place import Place


@dataclass(frozen=True)
class RunState:
    """RunState: a run as its records and its driver show it at one moment."""

    data: RunData | None
    """Its records; None where they cannot be read."""

    driver: str | None
    """Phrase that names the process that drives it; None without one."""

    problem: str = ""
    """Reason why the run, or its heartbeat, cannot be read; empty where both can."""


class RunWatch:
    """RunWatch: one run and its newest state."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._driver = DriverWatch(place)
        self._seen: tuple[RecordVersions, str | None, str] | None = None
        self._state: RunState | None = None
        self._ledger: WatchedLedger | None = None

    def state(self) -> RunState:
        """Return the state of the run; the same object while nothing has changed."""
        driver, problem = self._look_at_driver()
        try:
            seen = (record_versions(self.place), driver, problem)
            if self._state is None or seen != self._seen:
                self._state = RunState(self._read(driver is not None), driver, problem)
                self._seen = seen
        except (ThawError, OSError) as error:
            broken = RunState(None, driver, _reason(self.place, error))
            if broken != self._state:
                self._state = broken
            self._seen = None
        return self._state

    def _look_at_driver(self) -> tuple[str | None, str]:
        """Return the phrase that names the driver, and the reason why its heartbeat cannot be read."""
        try:
            driver = self._driver.at_work()
        except (ThawError, OSError) as error:
            return None, _reason(self.place, error)
        return None if driver is None else driver.who, ""

    def _read(self, is_driven: bool) -> RunData:
        run = open_run(self.place)
        if self._ledger is None or self._ledger.run != run:  # a new generation has other files
            self._ledger = WatchedLedger(run)
        record, board = self._ledger.read_run(), Leaderboard.from_ledger(self._ledger)
        return RunData(run, record, board if is_driven else board.without_driver(), is_driven)


def _reason(place: Place, error: ThawError | OSError) -> str:
    if isinstance(error, ThawError):
        return str(error)
    return f"{place}: a run must be a readable folder, got: {error.strerror or error}"

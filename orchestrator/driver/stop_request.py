"""StopRequest: a file that asks the driver of a run to stop. Light to import: no Ray."""

import time
from dataclasses import dataclass

from analysis import heartbeat
from analysis.heartbeat import Heartbeat
from analysis.run_folder import RunFolder, open_run
from search_spaces.errors import InvalidInput, ThawError
from search_spaces.shell import thaw_command
from trainables.storage.place import Place

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class StopRequest:
    """StopRequest: the request to one driver of a run."""

    run: Place
    """Run that is asked to stop."""

    driver: Heartbeat
    """Driver that is asked."""

    def wait(self, seconds: float) -> None:
        """Wait until the driver has ended, and delete the request. Raises ThawError after so many seconds."""
        deadline = time.monotonic() + seconds
        while not ((now := heartbeat.read(self.run)) is None or now.driver != self.driver.driver or now.is_over):
            if time.monotonic() > deadline:
                raise ThawError(
                    f"{self.run}: asked to stop, but still running after {seconds:.0f} s; see its own terminal"
                )
            time.sleep(_POLL_SECONDS)
        _file(self.run, self.driver).unlink(missing_ok=True)  # the driver may have left before it was made


def request_stop(run: Place) -> StopRequest:
    """Ask the driver of a run to stop. Raises InvalidInput where there is no run, or no driver at work."""
    driver = heartbeat.read(run)
    if driver is None:
        open_run(run)  # names what is wrong with a folder that is no run
    if driver is None or not heartbeat.is_alive(run):
        raise InvalidInput(f"{run}: must be running to be stopped, but it is not; see `{thaw_command('status', run)}`")
    _file(run, driver).touch()
    return StopRequest(run, driver)


def _file(run: Place, driver: Heartbeat) -> Place:
    return RunFolder(run, driver=driver.driver).stop_request

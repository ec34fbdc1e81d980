"""PatientDispatcher: what trackers show is read when they are done, however busy the machine is."""

from orchestrator.tracking.dispatcher import Dispatcher


class PatientDispatcher(Dispatcher):
    """Waits for processes of trackers as long as a busy machine takes to start them.

    A sweep waits for CLOSE_SECONDS: `test_services.py` tests that.
    """

    def close(self, timeout: float = 300.0) -> tuple[str, ...]:
        return super().close(timeout)

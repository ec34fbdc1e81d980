import pytest

from trainables.status import Status


@pytest.mark.parametrize("status", list(Status))
def test_a_resumed_sweep_continues_with_running_and_interrupted_trials_alone(status: Status) -> None:
    assert status.unfinished == (status.value in ("RUNNING", "INTERRUPTED"))


def test_a_status_is_its_name() -> None:
    assert [str(status) for status in Status] == [status.name for status in Status]

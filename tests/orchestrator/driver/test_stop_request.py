from pathlib import Path

import pytest

from analysis.claim import claim_run
from analysis.run_folder import RunFolder
from orchestrator.driver.stop_request import request_stop
from search_spaces.errors import InvalidInput, ThawError


def test_a_driver_is_asked_and_waited_for(empty_run: RunFolder) -> None:
    with pytest.raises(InvalidInput, match="must be running to be stopped"):
        request_stop(empty_run.root)
    claim = claim_run(empty_run, None)
    assert claim is not None
    request = request_stop(empty_run.root)
    assert empty_run.stop_request.exists()
    with pytest.raises(ThawError, match="asked to stop, but still running after 0 s"):
        request.wait(0)
    claim.end()
    request.wait(5)
    assert not empty_run.stop_request.exists()


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="a run must be an existing folder, got none"):
        request_stop(tmp_path / "none")

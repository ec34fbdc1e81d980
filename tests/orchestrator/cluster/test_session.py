"""Sessions that do not come about. Those of sweeps are in `tests/integration`."""

import socket
from pathlib import Path

import pytest
import ray

from orchestrator.cluster import runtime
from orchestrator.cluster.node_probe import NodeQuestion
from orchestrator.cluster.session import open_session
from orchestrator.spec.sections import Resources
from search_spaces.errors import InvalidInput

NOTHING = NodeQuestion((), "/nowhere")


def test_where_no_cluster_answers_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    folder = tmp_path / "runs" / "sweep"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with (
            pytest.raises(InvalidInput, match="a Ray cluster must answer"),
            open_session(folder, Resources(), lambda: NOTHING, address),
        ):
            pytest.fail("nothing answers there")
    assert not folder.exists()


def test_in_a_ray_that_is_connected_a_trial_must_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(runtime, "nodes_now", lambda: [{"CPU": 2.0}])
    with open_session(tmp_path, Resources(workers=2), lambda: NOTHING, "local"):
        pass
    with (
        pytest.raises(InvalidInput, match="resources: a trial must fit on this machine"),
        open_session(tmp_path, Resources(workers=3), lambda: NOTHING, "local"),
    ):
        pytest.fail("there are two cores")

"""Checks of joining nodes on one machine; a cluster that grows is in `tests/integration/test_clusters.py`."""

import time
from pathlib import Path

import pytest

from orchestrator.cluster import joining_nodes as module
from orchestrator.cluster.joining_nodes import JoiningNodes
from orchestrator.cluster.node_probe import NodeQuestion

pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run.json").touch()
    return tmp_path


def checks(run: Path, *packages: str) -> JoiningNodes:
    return JoiningNodes(NodeQuestion(packages, str(run / "cache"), run=str(run)), "run.json")


def complaint(joining: JoiningNodes) -> str | None:
    """The complaint, or None once every node has answered."""
    deadline = time.monotonic() + 60
    while (found := joining.complaint()) is None and joining._asked:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_node_is_asked_once_and_leaves_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    joining = checks(run, "timm")
    assert complaint(joining) is None
    assert joining.complaint() is None
    assert not joining._asked
    assert [path.name for path in run.iterdir()] == ["run.json"]


def test_a_fault_is_named_with_its_node(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    (run / "run.json").unlink()
    found = complaint(checks(run))
    assert found is not None
    assert "which has joined the cluster: storage.root must be one folder that all nodes share" in found


def test_a_sweep_that_ends_before_the_answer_leaves_no_test_file(run: Path) -> None:
    joining = checks(run)
    assert joining.complaint() is None
    joining.close()
    assert [path.name for path in run.iterdir()] == ["run.json"]
    joining.close()

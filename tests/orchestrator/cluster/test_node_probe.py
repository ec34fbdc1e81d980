import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from orchestrator.cluster.node_probe import NodeQuestion, probe_node, versions


@pytest.fixture
def question(tmp_path: Path) -> NodeQuestion:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"12345")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "token").touch()
    return NodeQuestion(
        ("thaw", "no-such-package"),
        str(tmp_path / "a" / "cache"),
        folders={"data.root": str(tmp_path / "photos"), "data.weights_dir": str(tmp_path / "none")},
        run=str(tmp_path / "run"),
        token="token",
        images={str(tmp_path / "photos" / name): 5 for name in ("a.png", "b.png")},
    )


def test_an_answer_tells_what_a_node_has_and_lacks(question: NodeQuestion, tmp_path: Path):
    answer = probe_node(json.loads(json.dumps(asdict(question))))
    assert answer["unreadable"] == ["data.weights_dir"]
    assert answer["wrong_images"] == [str(tmp_path / "photos" / "b.png")]
    assert (answer["sees_driver"], answer["cache_error"], answer["gpus"]) == (True, None, None)
    assert answer["cache_free"] > 0
    assert json.loads(json.dumps(answer)) == answer, "it travels to a driver as a plain mapping"
    assert not (tmp_path / "a").exists(), "the cache is looked at, not made"


def test_a_node_leaves_a_file_in_the_run_for_the_driver_to_see(question: NodeQuestion, tmp_path: Path):
    left = [probe_node(asdict(question))["left"] for _ in range(2)]
    assert left[0] != left[1]
    assert all((tmp_path / "run" / name).is_file() for name in left)


def test_without_a_run_nothing_is_left_and_no_driver_looked_for(tmp_path: Path):
    answer = probe_node(asdict(NodeQuestion((), str(tmp_path))))
    assert (answer["sees_driver"], answer["left"]) == (True, None)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_the_node_does_not_see_is_one_without_the_driver(question: NodeQuestion, tmp_path: Path):
    answer = probe_node(asdict(question) | {"run": str(tmp_path / "elsewhere")})
    assert (answer["sees_driver"], answer["left"]) == (False, None)


def test_gpus_are_counted_where_they_are_asked_for(tmp_path: Path):
    answer = probe_node(asdict(NodeQuestion((), str(tmp_path), devices=True)))
    assert answer["gpus"] == torch.cuda.device_count()


def test_versions_are_of_python_and_of_what_is_installed():
    found = versions(("thaw", "no-such-package"))
    assert list(found) == ["python", "thaw", "no-such-package"]
    assert platform.python_version().startswith(f"{found['python']}.")
    assert found["no-such-package"] is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written_is_an_error_in_the_answer(question: NodeQuestion, tmp_path: Path):
    (tmp_path / "a").mkdir(mode=0o500)
    assert probe_node(asdict(question))["cache_error"] is not None

import importlib.metadata
import os
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from orchestrator.cluster.node_checks import NODE_PACKAGES, kept_if_used, report
from orchestrator.cluster.node_probe import NodeQuestion, probe_node

FOUND = {"NodeManagerAddress": "10.0.0.7", "NodeID": "0123456789abcdef", "Resources": {"CPU": 2.0}}


@pytest.fixture
def question(tmp_path: Path) -> NodeQuestion:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"12345")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "token").touch()
    return NodeQuestion(
        NODE_PACKAGES,
        str(tmp_path / "a" / "cache"),
        folders={"data.root": str(tmp_path / "photos")},
        run=str(tmp_path / "run"),
        token="token",
        images={str(tmp_path / "photos" / "a.png"): 5},
    )


def complaints(question: NodeQuestion, has: dict[str, float] | None = None, **changes: object) -> list[str]:
    answer = {**probe_node(asdict(question) | {"devices": False}), **changes}
    return list(report(question, {**FOUND, "Resources": has or {"CPU": 1}}, answer).complaints)


def test_a_node_like_this_one_is_ready(question: NodeQuestion, tmp_path: Path):
    assert complaints(question) == []
    assert not (tmp_path / "a").exists(), "the cache is looked at, not made"


def test_other_versions_are_named_with_where_they_were_found(question: NodeQuestion):
    here = probe_node(asdict(question))["versions"]
    (old,) = complaints(question, versions={**here, "timm": "0.9.0"})
    assert old.startswith(f"timm must be {importlib.metadata.version('timm')} as on the driver, got 0.9.0 in /")
    assert old.endswith("install the same thaw wheel, with its [train] extra, on every node")
    (none,) = complaints(question, versions={**here, "thaw": None})
    assert "got None in" in none
    assert complaints(question, versions={**here, "torch": here["torch"].partition("+")[0] + "+cu128"}) == []


def test_what_a_node_does_not_see_is_named(question: NodeQuestion, tmp_path: Path):
    (tmp_path / "photos" / "a.png").write_bytes(b"1234")
    (changed,) = complaints(question)
    assert "1 of 1 looked at are missing or of another size, e.g." in changed
    (tmp_path / "photos" / "a.png").unlink()
    (tmp_path / "photos").rmdir()
    (gone,) = complaints(question)
    assert gone.startswith(f"data.root must be readable on every node, got nothing at {tmp_path / 'photos'}; mount it")


def test_a_bucket_out_of_reach_is_named(question: NodeQuestion, bucket: str, monkeypatch: pytest.MonkeyPatch):
    asked = replace(question, buckets={"data.root": f"{bucket}/photos", "storage.root": f"{bucket}-other/runs/s"})
    (missing,) = complaints(asked)
    assert missing.startswith(f"storage.root must be within reach of every node, got at {bucket}-other/runs/s: ")
    assert "NoSuchBucket" in missing
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    photos, _ = complaints(asked)
    assert photos.startswith("data.root must be within reach")
    assert re.search("Could not connect to the endpoint URL.*; see to the network there, and to the cred", photos)


def test_a_run_folder_of_its_own_is_no_shared_one(question: NodeQuestion, tmp_path: Path):
    (tmp_path / "run" / "token").unlink()
    (unshared,) = complaints(question)
    assert unshared.startswith("storage.root must be one folder that all nodes share")
    (tmp_path / "run" / "token").touch()
    (unseen,) = complaints(question, left=".node-somewhere-else")
    assert "must show all nodes the same files" in unseen
    (readonly,) = complaints(question, left=None)
    assert "must be writable on every node" in readonly


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written(question: NodeQuestion, tmp_path: Path):
    (tmp_path / "a").mkdir(mode=0o500)
    assert "storage.cache_dir must be writable" in complaints(question)[0]


def test_a_full_disk_and_blind_devices(question: NodeQuestion):
    (full,) = complaints(question, cache_free=10**8)
    assert "must have 1 GB free, got 0.1 GB at" in full
    asked = NodeQuestion(**{**asdict(question), "devices": True})
    for seen in (0, "OSError: libcuda.so.1"):
        (blind,) = complaints(asked, {"CPU": 1, "GPU": 1}, gpus=seen)
        assert f"must see the 1 GPUs that Ray counts, got {seen}" in blind
    assert complaints(asked, {"CPU": 1, "GPU": 1}, gpus=1) == []
    assert complaints(asked, {"CPU": 1}, gpus=0) == [], "a head without a GPU is no fault"


def test_a_node_that_does_not_answer(question: NodeQuestion):
    (silent,) = report(question, FOUND, "ModuleNotFoundError: No module named 'ray'").complaints
    assert silent.startswith("must answer, but ModuleNotFoundError")


def test_a_report_names_the_node_and_leaves_no_file_in_the_run(question: NodeQuestion, tmp_path: Path):
    answer = probe_node(asdict(question))
    assert (tmp_path / "run" / answer["left"]).exists()
    found = report(question, {**FOUND, "Resources": {"CPU": 8.0, "GPU": 0.5}}, answer)
    assert (found.name, found.resources, found.complaints) == ("10.0.0.7 (01234567)", "8 CPU, 0.5 GPU", ())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["token"]


def test_a_folder_is_kept_only_where_it_was_used(tmp_path: Path):
    with kept_if_used(tmp_path / "a" / "run"):
        assert (tmp_path / "a" / "run").is_dir()
    assert not (tmp_path / "a" / "run").exists()
    with pytest.raises(ValueError, match="bad"), kept_if_used(tmp_path / "run"):
        raise ValueError("bad")
    assert not (tmp_path / "run").exists()
    with kept_if_used(tmp_path / "run"):
        (tmp_path / "run" / "run.json").touch()
    assert (tmp_path / "run" / "run.json").exists()

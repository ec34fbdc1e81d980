import os
from pathlib import Path

import psutil
import pytest

from orchestrator.cluster.limits import allowed_cores, allowed_memory

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no limit of cores on this system")


@linux
def test_cores_are_those_the_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert allowed_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert allowed_cores() == len(allowed)


def test_without_such_a_limit_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)
    assert allowed_cores() == os.cpu_count()


@pytest.mark.parametrize(
    ("text", "limit"), [("max\n", None), (f"{2**60}\n", None), (f"{2**28}\n", 2**28), (None, None)]
)
def test_memory_is_that_of_the_container(tmp_path: Path, text: str | None, limit: int | None) -> None:
    control_group = tmp_path / "memory.max"
    if text is not None:
        control_group.write_text(text)
    assert allowed_memory(control_group) == (limit or psutil.virtual_memory().total)

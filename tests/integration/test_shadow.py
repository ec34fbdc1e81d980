"""A user's own folders named like ours, in the folder where `thaw` is started, do not get in its way."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.result import Status

pytestmark = pytest.mark.seconds(18)

Thaw = Callable[..., subprocess.CompletedProcess[str]]


def test_a_sweep_from_a_folder_with_packages_named_like_ours(
    write_sweep: Callable[..., Path], thaw: Thaw, tmp_path: Path
):
    for name in ("search_spaces", "trainables", "analysis", "orchestrator", "torch", "ray"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ImportError('the user\\'s own {name}')\n")
    (tmp_path / "timm.py").write_text("raise ImportError('the user\\'s own timm')\n")
    file = write_sweep(tmp_path, search={"trials": 2}, resources={"concurrent": 1})

    swept = thaw("sweep", file.name, "--quiet", cwd=tmp_path)

    assert swept.returncode == 0, swept.stderr
    assert "the user's own" not in swept.stderr
    run = RunFolder(tmp_path / "runs" / "sweep")
    assert [trial.status for trial in Ledger(run).trials()] == [Status.COMPLETED] * 2
    listed = thaw("leaderboard", "runs/sweep", "--format", "json", cwd=tmp_path)
    assert [entry["rank"] for entry in json.loads(listed.stdout)] == [1, 2]

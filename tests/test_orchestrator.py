"""Environment that the package sets before Ray is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def environment(home: Path, **given: str) -> dict[str, str]:
    """Return the variables of a process that has imported the package, of which nothing was set but `given`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    # Ray reads its environment when it is imported: it must not be, yet.
    code = "import json, os, sys, orchestrator; assert 'ray' not in sys.modules; print(json.dumps(dict(os.environ)))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, env={**clean, "HOME": str(home), **given}, capture_output=True, text=True, check=True, timeout=60
    )
    return dict(json.loads(result.stdout))


def test_ray_sends_no_statistics_and_leaves_ctrl_c_and_result_files_to_us(tmp_path: Path) -> None:
    found = environment(tmp_path)
    assert found["RAY_USAGE_STATS_ENABLED"] == "0"
    assert found["TUNE_DISABLE_SIGINT_HANDLER"] == "1"
    assert found["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "1"
    assert "RAY_AUTH_MODE" not in found


def test_ray_kills_one_worker_at_a_time_for_lack_of_memory(tmp_path: Path) -> None:
    assert environment(tmp_path)["RAY_worker_killing_policy_by_group"] == "true"


def test_a_value_of_the_user_wins(tmp_path: Path) -> None:
    found = environment(tmp_path, RAY_USAGE_STATS_ENABLED="1", RAY_AUTH_TOKEN="secret", RAY_AUTH_MODE="disabled")
    assert (found["RAY_USAGE_STATS_ENABLED"], found["RAY_AUTH_MODE"]) == ("1", "disabled")


@pytest.mark.parametrize("where", ["home", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_a_token_of_a_cluster_is_offered(where: str, tmp_path: Path) -> None:
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    if where == "home":
        token.touch()
    given = {} if where == "home" else {where: str(token)}
    assert environment(tmp_path, **given)["RAY_AUTH_MODE"] == "token"

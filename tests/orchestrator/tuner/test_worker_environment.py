import subprocess
import sys

import pytest
from ray.tune.execution.class_cache import _ActorClassCache

from orchestrator.tuner.worker_environment import keep_keys_of_aws_out
from orchestrator.worker.trial_actor import TrialActor

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")


def test_tune_copies_no_key_of_aws_into_the_environment_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "3")
    keep_keys_of_aws_out()
    actor = _ActorClassCache().get(TrialActor)
    copied = actor._default_options["runtime_env"]["env_vars"]
    assert copied["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "3", "Tune still copies what its own workers need"
    assert not [name for name in copied if name.startswith("AWS_")]


def test_without_our_part_it_would() -> None:
    """Where this fails, Tune has changed: see how it passes the environment on, and whether our part is needed."""
    code = "from ray.tune.execution import class_cache; print(*class_cache.ENV_VARS_TO_PROPAGATE)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(KEYS) <= set(done.stdout.split())

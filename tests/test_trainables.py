"""Environment that the package sets before torch is imported."""

import os
import subprocess
import sys


def policy(**given: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = "import os, sys, trainables; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env={**clean, **given}, capture_output=True, text=True, check=True, timeout=60)
    return result.stdout.strip()


def test_idle_threads_of_openmp_sleep_unless_the_user_wants_them_to_spin() -> None:
    assert policy() == "PASSIVE"
    assert policy(OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"

"""Sweeps of many trials: sweep file, Ray Tune, Optuna, trackers, cluster, winner and command line.

Ray reads its environment when it is imported or started. Importing this package sets it, so every module below may
import Ray in any order. A value that the user has set wins.
"""

import os
import sys
from pathlib import Path

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Ray's other policy kills as many workers at once as free enough memory. It does not see the processes in which
    # trials train, and would kill too many. This one kills one worker, waits for its end, and looks again.
    "RAY_worker_killing_policy_by_group": "true",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

# A process sends the cluster's token only in token mode, and Ray reads the mode once, at its import. A cluster that
# needs no token accepts it all the same.
# `Path.expanduser` raises where a container knows no home; this function does not.
_TOKEN = Path(os.path.expanduser("~/.ray/auth_token"))  # noqa: PTH111
_HAS_TOKEN = _TOKEN.exists() or "RAY_AUTH_TOKEN" in os.environ
if "ray" not in sys.modules and (_HAS_TOKEN or "RAY_AUTH_TOKEN_PATH" in os.environ):
    _ENVIRONMENT["RAY_AUTH_MODE"] = "token"

for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

"""Thaw for Python: `from thaw import load, run_sweep, Leaderboard, Predictor`.

Each name is imported when it is first used: the leaderboard and the predictor need neither torch nor Ray.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.comparisons.comparison import compare_trials
    from analysis.leaderboard import Leaderboard
    from analysis.report.panels import figures
    from orchestrator.driver.sweep import run_sweep
    from orchestrator.spec.loading import load
    from trainables.bundle.predict import Predictor

__all__ = ["Leaderboard", "Predictor", "compare_trials", "figures", "load", "run_sweep"]

_HOMES = {
    "Leaderboard": "analysis.leaderboard",
    "Predictor": "trainables.bundle.predict",
    "compare_trials": "analysis.comparisons.comparison",
    "figures": "analysis.report.panels",
    "load": "orchestrator.spec.loading",
    "run_sweep": "orchestrator.driver.sweep",
}


def __getattr__(name: str) -> Any:
    """Import one of the public names from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'thaw' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

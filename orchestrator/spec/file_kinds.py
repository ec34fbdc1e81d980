"""Kinds of files: a sweep's and a trial's, told apart by their keys."""

from collections.abc import Mapping
from typing import Any

from orchestrator.spec.sweep_spec import SHARED, SweepSpec
from trainables.config import STRATEGY_PARAMETERS, TrialConfig

_SWEEP_ONLY = SweepSpec.model_fields.keys() - set(SHARED)


def is_sweep_file(raw: Mapping[Any, Any]) -> bool:
    """Return whether a mapping has the sections of a sweep file, and nothing that another tool would write."""
    return raw.keys() <= SweepSpec.model_fields.keys() and any(
        section in raw for section in ("space", "trial", "search")
    )


def is_trial_file(raw: Mapping[Any, Any]) -> bool:
    """Return whether a mapping is a trial's file of Thaw, complete or not: known keys, and a strategy of Thaw."""
    return raw.keys() <= TrialConfig.model_fields.keys() and raw.get("strategy") in [*STRATEGY_PARAMETERS]


def trial_settings(raw: Mapping[Any, Any]) -> list[str]:
    """Return the keys of a sweep file that are a trial's, where it has none of a sweep's own sections."""
    if any(section in raw for section in _SWEEP_ONLY):
        return []
    return [key for key in raw if key in TrialConfig.model_fields and key not in SHARED]

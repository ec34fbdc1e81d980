"""Budgets beside the number of trials; their used-up share is computed from the ledger alone."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from search_spaces.errors import shown
from search_spaces.none_and_auto import OrNone
from search_spaces.validation import Frozen
from trainables.config import Objective

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = r"^(\d+(\.\d+)?[dhms])+$"


def _seconds(value: Any) -> Any:
    if value is None or isinstance(value, float):
        return value
    if not isinstance(value, str) or re.fullmatch(_DURATION, value) is None:
        raise ValueError(f"must be a time with its unit, got {shown(value)}; write e.g. 2h, 1h30m, 90m or 45s")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([dhms])", value))


Duration = Annotated[
    Annotated[float, Field(gt=0)],
    BeforeValidator(_seconds),
    PlainSerializer(lambda seconds: f"{seconds:.10g}s", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _DURATION}),
]
"""Seconds; in a file a text such as 1h30m, with the units d, h, m and s."""


class Budget(Frozen):
    """Budget: limits that end a sweep before its trials are done. The first limit reached counts; resumes add up.

    Trials that run at that moment finish their epoch and are INTERRUPTED: `thaw extend RUN --set budget...` continues
    the sweep.
    """

    wall_clock: OrNone[Duration] = None
    """Time with a driver at work, e.g. 2h, 1h30m or 45s."""

    gpu_hours: OrNone[Annotated[float, Field(gt=0)]] = None
    """Hours of all epochs of all trials, times the GPUs of a trial."""

    target: OrNone[Annotated[float, Field(allow_inf_nan=False)]] = None
    """Value of the objective; the trial that reaches it is COMPLETED at that epoch."""

    plateau: OrNone[Annotated[int, Field(ge=1)]] = None
    """Trials begun after the best one, or after the last `thaw extend`, that have ended without beating it."""


def clock(seconds: float) -> str:
    """Return a time in readable units: 1h30m, 45s."""
    rest, parts = round(seconds), []
    for unit in ("h", "m", "s"):
        count, rest = divmod(rest, int(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or f"{seconds:.2g}s"


def reached(target: float | None, objective: Objective, value: float) -> bool:
    """Return whether a value of the objective is the target or better."""
    return target is not None and not objective.better(target, value)

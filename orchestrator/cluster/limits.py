"""Limits: cores and memory that this process may use, of the machine and of its container."""

from pathlib import Path

import psutil

_CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")


def allowed_cores() -> int:
    """Return the cores that this process may run on; all cores where the system has no such limit (macOS)."""
    if hasattr(psutil.Process, "cpu_affinity"):
        return len(psutil.Process().cpu_affinity())
    return psutil.cpu_count() or 1


def allowed_memory(control_group: Path = _CONTROL_GROUP) -> int:
    """Return the bytes of memory: the machine's, which psutil reports, or the limit of the control group if lower."""
    total = psutil.virtual_memory().total
    try:
        return min(total, int(control_group.read_text()))
    except (OSError, ValueError):  # no control group, or one without a limit: `max`
        return total

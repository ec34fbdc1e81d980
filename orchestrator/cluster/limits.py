"""Cores and memory that this process may use: those of the machine, within the limits of a container."""

from pathlib import Path

import psutil

_CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")


def allowed_cores() -> int:
    """Cores that this process may run on; all of the machine where the system has no such limit (macOS)."""
    if hasattr(psutil.Process, "cpu_affinity"):
        return len(psutil.Process().cpu_affinity())
    return psutil.cpu_count() or 1


def allowed_memory(control_group: Path = _CONTROL_GROUP) -> int:
    """Bytes of memory: the machine's, which is all that psutil reports, or the limit of the control group."""
    total = psutil.virtual_memory().total
    try:
        return min(total, int(control_group.read_text()))
    except (OSError, ValueError):  # no control group, or one without a limit: `max`
        return total

"""CPU of this machine: its name and its instruction sets, by which INT8 gives other results and costs other times."""

import platform
from pathlib import Path

# Names of Linux for what multiplies integers, on x86 and ARM.
_INSTRUCTION_SETS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")


def cpu_features() -> dict[str, str]:
    """Return `name` and `instruction_sets`, the latter with the machine's architecture where Linux names none."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    known = {name.strip(): value.split() for name, value in fields.items()}
    flags = {*known.get("flags", ()), *known.get("Features", ())}
    sets = [name for name in _INSTRUCTION_SETS if name in flags]
    name = " ".join(known.get("model name", ())) or platform.processor() or platform.machine()
    return {"name": name, "instruction_sets": " ".join(sets) or platform.machine()}

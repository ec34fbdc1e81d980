import platform
from pathlib import Path

from trainables.bundle.cpu import cpu_features


def test_the_processor_is_named_with_what_multiplies_integers() -> None:
    found = cpu_features()
    assert found["name"]
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    named = found["instruction_sets"].split()
    assert named == [platform.machine()] or all(name in flags for name in named)

"""Commands whose standard streams are closed, full, or without a reader, as real processes of a shell."""

import subprocess
import sys
from pathlib import Path

import pytest

FULL = "standard output: must be writable, got: No space left on device"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `thaw` is the command."""
    thaw = f"thaw() {{ {sys.executable} -c 'from orchestrator.cli import main; main()' \"$@\"; }}"
    temporary = {"TMPDIR": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(
        ["bash", "-c", f"{thaw}; {line}"], capture_output=True, text=True, check=False, cwd=folder, env=temporary
    )


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("thaw --version >&-", 0, ""),
        ("thaw --version 2>&-", 0, ""),
        ("thaw --version <&- >&- 2>&-", 0, ""),
        ("thaw --version >/dev/full", 1, FULL),
        ("thaw schema >/dev/full", 1, FULL),
        ("thaw --version 2>/dev/full", 0, ""),
        ("thaw leaderboard nosuch 2>/dev/full", 2, ""),
        ("thaw leaderboard nosuch 2>&-", 2, ""),
        ("thaw leaderboard nosuch 2>&1 | true; exit ${PIPESTATUS[0]}", 2, ""),
    ],
)
def test_the_exit_code_is_that_of_the_command_and_a_full_disk_is_named(
    line: str, code: int, told: str, tmp_path: Path
) -> None:
    done = shell(line, tmp_path)
    assert done.returncode == code
    assert told in done.stderr
    assert "unexpected" not in done.stderr
    assert list(tmp_path.glob("thaw-report-*")) == []


def test_a_file_does_not_get_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = "from orchestrator.terminal.standard_streams import prepare; prepare(); file = open('opened', 'w')"
    code += "; print(file.fileno() > 2)"
    done = shell(f"{sys.executable} -c \"{code}; import os; os.write(2, b'lost')\" 2>&-", tmp_path)
    assert done.stdout == "True\n"
    assert (tmp_path / "opened").read_text() == ""

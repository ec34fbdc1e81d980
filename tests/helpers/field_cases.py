"""Cases of the field: inputs as people have them, each in a folder of its own, and Thaw's commands on them."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.cli import run

_ASSETS = Path(os.environ.get("THAW_TEST_ASSETS", Path(__file__).parents[3] / "shared"))
ARCHIVE = _ASSETS / "field-cases" / "cases.tar.xz"


@dataclass(frozen=True)
class Answer:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All words of it, with one space between two."""
        return " ".join(f"{self.out} {self.err}".split())


@dataclass(frozen=True)
class FieldCase:
    """A case in its folder, which is the current one."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def make(self) -> None:
        """Run the script that makes what is too large, or too odd, for the archive."""
        subprocess.run([sys.executable, "make.py"], cwd=self.folder, check=True, capture_output=True)

    def thaw(self, *arguments: str) -> Answer:
        """Run a command of Thaw in this process."""
        self.capsys.readouterr()
        code = run([*arguments])
        return Answer(code, *self.capsys.readouterr())


@pytest.fixture
def field_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], FieldCase]:
    """A function that unpacks the case of a name."""
    if not ARCHIVE.is_file():
        pytest.skip(f"needs {ARCHIVE}")

    def unpack(name: str) -> FieldCase:
        with tarfile.open(ARCHIVE) as archive:
            members = [member for member in archive if member.name.removeprefix("./").split("/")[0] == name]
            archive.extractall(tmp_path, members=members, filter="tar")
        monkeypatch.chdir(tmp_path / name)
        assert [*Path().iterdir()], f"the archive has no case {name}"
        return FieldCase(tmp_path / name, capsys)

    return unpack

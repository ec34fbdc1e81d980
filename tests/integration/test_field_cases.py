"""The cases of the field that pass as they are, and some as commands; others stand with the tests of a kind of file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from field_cases import FieldCase


@pytest.mark.parametrize(
    ("name", "command", "code", "words"),
    [
        ("P01-roboflow-with-litter", ["data", "preview", "trial.yaml"], 0, ["2"]),
        ("P04-truncated-jpeg", ["data", "preview", "trial.yaml"], 2, [".jpg"]),
        ("P06-yaml-tabs", ["space", "s.yaml"], 2, ["s.yaml"]),
        ("P06-yaml-twice", ["space", "s.yaml"], 2, ["s.yaml"]),
        ("P06-yaml-typo", ["space", "s.yaml"], 2, ["did you mean"]),
    ],
)
def test_a_case_that_passes_goes_on_passing(
    field_case: Callable[[str], FieldCase], name: str, command: list[str], code: int, words: list[str]
) -> None:
    answer = field_case(name).thaw(*command)
    assert answer.code == code, answer.text
    assert [word for word in words if word not in answer.text] == []


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "command", "code", "words"),
    [
        ("F01-symlink-loop", ["data", "preview", "trial.yaml"], 0, ["linked to a folder of the data set"]),
        ("F02-import-freeze-epochs", ["import-config", "old.yaml", "--out", "new.yaml"], 0, ["new.yaml"]),
        ("F18-several-bad-images", ["trial", "trial.yaml", "--out", "out"], 2, ["got 4 that are not"]),
        ("F31-weights-lfs-pointer", ["trial", "trial.yaml", "--out", "out"], 2, ["git lfs pull"]),
        ("F41-trial-file-to-sweep", ["sweep", "trial.yaml"], 2, ["thaw trial trial.yaml"]),
    ],
)
def test_a_case_as_a_command(
    field_case: Callable[[str], FieldCase], name: str, command: list[str], code: int, words: list[str]
) -> None:
    folder = field_case(name).folder
    thaw = Path(sys.executable).with_name("thaw")
    done = subprocess.run([thaw, *command], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    assert [word for word in words if word not in " ".join(f"{done.stdout} {done.stderr}".split())] == []
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()

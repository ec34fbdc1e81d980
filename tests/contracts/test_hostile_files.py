"""Every parser reads each file of the corpus, or refuses it by name: quickly, and without much memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

from parsers import PARSERS

CORPUS = Path(__file__).parents[1] / "corpus"
HELPERS = Path(__file__).parents[1] / "helpers"
ROOT = Path(__file__).parents[2]
SLOWEST = 10.0


def test_hostile_files_are_read_or_refused_by_name() -> None:
    folders = [CORPUS / name for name in PARSERS]
    assert sorted(path.name for path in CORPUS.iterdir() if path.is_dir() and "__" not in path.name) == sorted(PARSERS)
    environment = os.environ | {"PYTHONPATH": f"{HELPERS}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, HELPERS / "hostile.py", *folders], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) > 500
    assert [each for each in answers if each["said"] not in ("read", "refused") or each["seconds"] > SLOWEST] == []

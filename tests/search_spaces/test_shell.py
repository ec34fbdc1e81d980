"""Commands in messages: they can be copied into a shell, and no message writes one by hand."""

import ast
import os
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from orchestrator.commands.app import make_app
from search_spaces.shell import thaw_command

ROOT = Path(__file__).parents[2]
NAMES = set(getattr(typer.main.get_command(make_app()), "commands", {}))
ROOMS = ("search_spaces", "trainables", "analysis", "orchestrator")


@pytest.mark.parametrize("path", ["runs/a", "my runs/a", "it's", "a\nb", "$HOME", "[red]"])
def test_a_shell_reads_the_words_back(path: str) -> None:
    assert shlex.split(thaw_command("resume", Path(path))) == ["thaw", "resume", path]


@pytest.mark.parametrize("path", ["a\x1b[2Jb", "it's \x9b1", "back\\slash\r", "\udcff é"])
def test_a_control_character_is_shown_and_bash_reads_it_back(path: str) -> None:
    command = thaw_command("resume", Path(path))
    assert command.isprintable()
    read = subprocess.run(["bash", "-c", command.replace("thaw resume", "printf %s")], capture_output=True, check=True)
    assert read.stdout == os.fsencode(path)


def test_no_message_writes_a_command_with_a_value_by_hand() -> None:
    by_hand = []
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                for text, value in zip(node.values, node.values[1:], strict=False):
                    is_command = isinstance(text, ast.Constant) and _ends_in_command(str(text.value))
                    if is_command and isinstance(value, ast.FormattedValue):
                        by_hand.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert by_hand == []


def _ends_in_command(text: str) -> bool:
    """Return whether a text ends in `thaw`, a name of a command, and a space."""
    *_, last, name, rest = ["", "", *text.split(" ")]
    return not rest and name in NAMES and last.endswith("thaw")


def test_a_path_that_begins_with_a_dash_is_no_option() -> None:
    assert thaw_command("resume", Path("-runs/x")) == "thaw resume ./-runs/x"
    assert thaw_command("extend", Path("x"), "--set", "a=1") == "thaw extend x --set a=1"

import io

import pytest
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from orchestrator.terminal.safe_console import SafeConsole, safe_text

HOSTILE = "\x1b]0;owned\x1b\\\x1b[2J\x9bcat\u202e"


def table() -> Table:
    made = Table(box=None)
    made.add_column(safe_text(HOSTILE))
    made.add_row(safe_text(HOSTILE))
    return made


@pytest.mark.parametrize("what", [HOSTILE, Text(HOSTILE), table(), Panel(Text(HOSTILE), title=HOSTILE)], ids=range(4))
def test_a_text_of_the_user_controls_nothing(what: RenderableType) -> None:
    file = io.StringIO()
    SafeConsole(file=file, width=200, color_system=None).print(what)
    assert not {"\x1b", "\x9b", "\u202e"} & {*file.getvalue()}
    assert r"\x1b[2J\x9bcat\u202e" in file.getvalue()


def test_colors_are_rich_s_own_and_a_plain_text_is_as_on_its_console() -> None:
    written = []
    for kind in (SafeConsole, Console):
        file = io.StringIO()
        kind(file=file, width=60, force_terminal=True, color_system="standard").print("[bold]cat[/bold]", Text("猫 é"))
        written.append(file.getvalue())
    assert written[0] == written[1]
    assert "\x1b[1mcat" in written[0]

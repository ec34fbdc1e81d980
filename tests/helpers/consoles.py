"""Consoles of a width, and what they show as text."""

import io

from rich.console import Console, RenderableType


def console(width: int) -> Console:
    """Return a console without colors."""
    return Console(file=io.StringIO(), width=width, force_terminal=False)


def shown(renderable: RenderableType, width: int = 200) -> str:
    """Return what a console shows."""
    out = console(width)
    out.print(renderable)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


# Names that a terminal library might take for its own.
ODD = ["[bold]glass[/bold]", "[/]", ":warning:", "back\\", "[link=x]paper", "plain"]

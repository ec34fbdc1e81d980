"""Console on which no text of the user controls the terminal: a file's name, a class, a message of a library."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from search_spaces.terminal_text import without_controls


class SafeConsole(Console):
    """SafeConsole: prints control characters written out. Colors and cursor movements are rich's own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does; every table, bar and text passes through here."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=without_controls(segment.text))


def safe_text(text: str) -> Text:
    """Return a text of the user for a cell of a table, whose width is measured before it is rendered."""
    return Text(without_controls(text))

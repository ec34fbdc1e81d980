"""Plain charts drawn with Pillow: labeled rows of pictures, panels of bars. No display and no browser needed."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_CELL = 120
_GAP = 8
_MARGIN = 20
_LABELS = 176
_LINE = 15
_BAR = 16
_PANEL = 314
_PANEL_GAP = 36

_PAPER, _INK, _FAINT, _FILL = "white", "#1f2328", "#656d76", "#3b78b5"
_TITLE, _TEXT = 17, 12


@dataclass(frozen=True)
class Row:
    """Pictures side by side, with a title and notes on their left, and perhaps lines of text under each."""

    title: str
    notes: Iterable[str]
    pictures: Sequence[Image.Image]
    captions: Sequence[Sequence[str]] = ()

    @property
    def height(self) -> int:
        """In pixels, with the space to the next row."""
        return _CELL + _LINE * max((len(lines) for lines in self.captions), default=0) + 2 * _GAP


@dataclass(frozen=True)
class Bars:
    """One value a label, None where there is none; `scale` is the value of the longest possible bar."""

    title: str
    note: str
    values: Sequence[float | None]
    scale: float


def draw_rows(rows: Sequence[Row]) -> Image.Image:
    """Draw all rows, one below the other, every picture at the same size."""
    columns = max(len(row.pictures) for row in rows)
    width = 2 * _MARGIN + _LABELS + columns * (_CELL + _GAP) - _GAP
    canvas = Image.new("RGB", (width, 2 * _MARGIN + sum(row.height for row in rows) - 2 * _GAP), _PAPER)
    pen = ImageDraw.Draw(canvas)
    top = _MARGIN
    for row in rows:
        pen.text((_MARGIN, top), row.title, _INK, _font(_TITLE))
        for line, note in enumerate(row.notes):
            pen.text((_MARGIN, top + 26 + line * (_LINE + 2)), note, _FAINT, _font(_TEXT))
        for column, picture in enumerate(row.pictures):
            left = _MARGIN + _LABELS + column * (_CELL + _GAP)
            canvas.paste(picture.resize((_CELL, _CELL), Image.Resampling.BICUBIC), (left, top))
            for line, caption in enumerate(row.captions[column] if row.captions else ()):
                text = _shortened(caption, _CELL, _font(_TEXT))
                pen.text((left, top + _CELL + 2 + line * _LINE), text, _FAINT, _font(_TEXT))
        top += row.height
    return canvas


def draw_bars(labels: Sequence[str], panels: Sequence[Bars]) -> Image.Image:
    """Draw one line per label, one panel of bars beside the other."""
    top = _MARGIN + 52
    width = 2 * _MARGIN + _LABELS + len(panels) * (_PANEL + _PANEL_GAP) - _PANEL_GAP
    canvas = Image.new("RGB", (width, top + len(labels) * (_BAR + _GAP) + _MARGIN - _GAP), _PAPER)
    pen = ImageDraw.Draw(canvas)
    text = _font(_TEXT)
    for line, label in enumerate(labels):
        pen.text((_MARGIN, top + line * (_BAR + _GAP)), _shortened(label, _LABELS - _GAP, text), _INK, text)
    for number, bars in enumerate(panels):
        left = _MARGIN + _LABELS + number * (_PANEL + _PANEL_GAP)
        pen.text((left, _MARGIN), bars.title, _INK, _font(_TITLE))
        pen.text((left, _MARGIN + 26), bars.note, _FAINT, text)
        _draw_panel(pen, bars, left, top)
    return canvas


def stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures one below the other."""
    width = max(picture.width for picture in pictures)
    canvas = Image.new("RGB", (width, sum(picture.height for picture in pictures)), _PAPER)
    top = 0
    for picture in pictures:
        canvas.paste(picture, (0, top))
        top += picture.height
    return canvas


def _draw_panel(pen: ImageDraw.ImageDraw, bars: Bars, left: int, top: int) -> None:
    text = _font(_TEXT)
    shown = {line: value for line, value in enumerate(bars.values) if value is not None}
    numbers = {line: f"{value}" if isinstance(value, int) else f"{value:.2f}" for line, value in shown.items()}
    room = _PANEL - _GAP - max(text.getlength(number) for number in numbers.values())
    scale = bars.scale or 1
    for line, value in shown.items():
        upper = top + line * (_BAR + _GAP)
        end = left + round(room * value / scale)
        if end > left:
            pen.rectangle((left, upper, end - 1, upper + _BAR - 1), _FILL)
        pen.text((end + _GAP // 2, upper), numbers[line], _INK, text)


_LONGEST_TEXT = 300
"""Characters that could fit into a row of the picture; measuring far longer ones would take minutes."""


def _shortened(text: str, width: float, font: Font) -> str:
    text = _drawable(text[:_LONGEST_TEXT])
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def _drawable(text: str) -> str:
    """Pillow's own font has few letters beyond ASCII: without their accents, or ? for what has no such letter."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return plain.encode("ascii", "replace").decode()


def _font(size: int) -> Font:
    return ImageFont.load_default(size)

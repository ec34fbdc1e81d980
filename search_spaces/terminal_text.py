"""Terminal text: names of files and classes, without the characters by which they could control a terminal."""

import re
import unicodedata

# Marks that turn the direction of what follows, so that a name reads as another one.
_TURNS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE = frozenset(("Cc", "Cs", "Zl", "Zp"))
_COLOR = re.compile(r"\x1b\[[\d;]*m")


def without_controls(text: str) -> str:
    r"""Return a text whose control characters are written out, as `\x1b`; line breaks and tabs stay."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(mark if _is_safe(mark) else mark.encode("unicode_escape").decode() for mark in text)


def without_colors(text: str) -> str:
    """Return the lines of another program's log, without its colors and other control characters."""
    return without_controls(_COLOR.sub("", text))


def _is_safe(mark: str) -> bool:
    return mark in "\n\t" or not (mark in _TURNS or unicodedata.category(mark) in _UNSAFE)

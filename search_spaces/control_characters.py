"""Text that a terminal may print: names of files are bytes that anybody chose, and some of them are commands to it."""

import re

# Control characters beside tab and line feed, and those that turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    r"""Return a text with its control characters as escapes such as `\x1b`; tabs and line feeds stay."""
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)

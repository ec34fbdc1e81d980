"""Redaction: secrets of the environment, and credentials in URLs, are hidden in messages, records and logs."""

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote, urlsplit

# Names of variables that hold a secret, and endings that name where one lies or how it is used.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|APIKEY", re.IGNORECASE)
_PLACE = re.compile(r"(FILE|PATH|DIR|SOCK|MODE|URL|URI)$", re.IGNORECASE)
# A user name and a password before the host of a URL.
_USERINFO = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/'\"<>]+@", re.IGNORECASE)
# A shorter value is also a common word, e.g. `token`.
SHORTEST = 8
HIDDEN = "***"


def redact(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return `text` with `***` in place of each secret value of `environment` and of user and password in URLs.

    A variable is a secret by its name (..._KEY, ..._TOKEN, ..._SECRET, ..._PASSWORD ...), and a password by its place
    in a variable that is a URL. A value of fewer than eight characters stays: it may be a common word.
    """
    text = _USERINFO.sub(rf"\g<1>{HIDDEN}@", text)
    # Longest first: one value may contain another.
    for value in sorted(_secrets(environment), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text


def _secrets(environment: Mapping[str, str]) -> set[str]:
    values = set()
    for name, value in environment.items():
        if _SECRET.search(name) and not _PLACE.search(name):
            values.add(value.strip())
        elif "@" in value and "://" in value:
            values.update(_passwords(value))
    spellings = {spelling for value in values for spelling in (value, quote(value, safe=""), repr(value)[1:-1])}
    return {value for value in spellings if len(value) >= SHORTEST}


def _passwords(url: str) -> Iterator[str]:
    """Yield the password in a URL, as written and decoded."""
    try:
        password = urlsplit(url).password
    except ValueError:  # no URL after all
        return
    if password:
        yield password
        yield unquote(password)

"""Errors of reading containers and tables of users, as rule, value and remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

from search_spaces.errors import InvalidInput
from search_spaces.user_files import FileKind

_GIB = 2**30
TAR = FileKind("a tar shard", 1024 * _GIB)
PARQUET = FileKind("a Parquet file", 1024 * _GIB)


@contextmanager
def reading_errors(where: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn the `errors` that a damaged file gives, and those of a file that is not UTF-8, into InvalidInput."""
    expected: tuple[type[Exception], ...] = (UnicodeDecodeError, *errors)
    try:
        yield
    except expected as error:
        raise InvalidInput(
            f"{where}: must be a whole file of its format, got: {error}; copy or write it anew"
        ) from error

"""Log files that cost nothing: that a disk is full is told by what must last, not by what is said on the way."""

import logging
from contextlib import suppress
from pathlib import Path

from trainables.storage.place import storage_errors


class LogFile(logging.FileHandler):
    """Appends to a file, and says nothing of what cannot be appended."""

    def __init__(self, path: Path, text: str) -> None:
        """`text` is the format of a line. Raises StorageFailed when the file cannot be opened."""
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(path)
        self.setFormatter(logging.Formatter(text))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Nothing: the terminal is for what the person there can do something about."""

    def close(self) -> None:
        """Close the file; what could not be written before is lost now."""
        with suppress(OSError):
            super().close()

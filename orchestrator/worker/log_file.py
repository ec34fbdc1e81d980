"""Log files whose write errors are ignored: a full disk is reported when a record or checkpoint is written."""

import logging
from contextlib import suppress
from pathlib import Path

from search_spaces.redaction import redact
from trainables.storage.place import storage_errors


class LogFile(logging.FileHandler):
    """LogFile: appends to a file, and ignores lines that cannot be appended."""

    def __init__(self, path: Path, text: str) -> None:
        """Open the file; `text` is the format of a line. Raises StorageFailed when the file cannot be opened."""
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(path)
        self._text = text
        self.setFormatter(_Redacting(text))

    def attribute_to(self, process: int) -> None:
        """Name `process` in the lines from now on, in place of the process that writes them."""
        self.setFormatter(_Redacting(self._text.replace("%(process)d", str(process))))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Do nothing: the terminal shows only problems that the user can fix."""

    def close(self) -> None:
        """Close the file; text that could not be written is lost."""
        with suppress(OSError):
            super().close()


class _Redacting(logging.Formatter):
    """Formatter that hides secrets, in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))

import logging
import sys
from pathlib import Path

import pytest

from orchestrator.worker.log_file import LogFile
from search_spaces.errors import StorageFailed


def said(handler: LogFile, text: str) -> None:
    handler.emit(logging.LogRecord("thaw", logging.INFO, __file__, 1, text, None, None))


def test_lines_are_appended_to_a_file_in_folders_that_are_made(tmp_path: Path) -> None:
    for text in ("one", "two"):
        handler = LogFile(tmp_path / "logs" / "0001.log", "%(levelname)s %(message)s")
        said(handler, text)
        handler.close()
    assert (tmp_path / "logs" / "0001.log").read_text() == "INFO one\nINFO two\n"


def test_lines_may_name_another_process(tmp_path: Path) -> None:
    handler = LogFile(tmp_path / "0001.log", "[%(process)d] %(message)s")
    handler.attribute_to(12)
    said(handler, "one")
    handler.close()
    assert (tmp_path / "0001.log").read_text() == "[12] one\n"


def test_secrets_are_hidden_in_a_traceback_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "planted-0123456789")
    handler = LogFile(tmp_path / "0001.log", "%(message)s")
    try:
        raise RuntimeError("planted-0123456789, http://me:secret@host/x")
    except RuntimeError:
        record = logging.LogRecord("thaw", logging.ERROR, __file__, 1, "no: planted-0123456789", None, sys.exc_info())
    handler.emit(record)
    handler.close()
    lines = (tmp_path / "0001.log").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("no: ***", "RuntimeError: ***, http://***@host/x")


def test_a_full_disk_is_not_its_business(capsys: pytest.CaptureFixture[str]) -> None:
    handler = LogFile(Path("/dev/full"), "%(message)s")
    for text in ("one", "two"):
        said(handler, text)
    handler.close()
    assert capsys.readouterr().err == ""


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    with pytest.raises(StorageFailed, match=r"logs: cannot write 0001\.log"):
        LogFile(tmp_path / "logs" / "0001.log", "%(message)s")

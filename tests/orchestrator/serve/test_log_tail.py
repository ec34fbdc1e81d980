import os
from pathlib import Path

import pytest

from analysis.run_folder import RunFolder
from orchestrator.serve.log_tail import log_tail
from search_spaces.errors import InvalidInput


def test_the_end_of_a_log(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert log_tail(tmp_path, "0000") == (b"", False)
    run.sweep_log.parent.mkdir()
    run.sweep_log.write_bytes(b"one\ntwo\n")
    assert log_tail(tmp_path, "sweep") == (b"one\ntwo\n", False)
    run.log("0000").write_bytes(b"".join(b"line %06d\n" % number for number in range(30_000)))
    content, is_cut = log_tail(tmp_path, "0000")
    assert is_cut
    assert content.startswith(b"line 0")
    assert content.endswith(b"line 029999\n")
    assert 250_000 < len(content) <= 256 * 1024


@pytest.mark.timeout(20)
def test_what_is_no_log(tmp_path: Path) -> None:
    RunFolder(tmp_path).log("0000").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="a log must be a readable file"):
        log_tail(tmp_path, "0000")
    with pytest.raises(InvalidInput, match="a trial id must be a file name"):
        log_tail(tmp_path, "../run.json")
    os.mkfifo(RunFolder(tmp_path).log("0001"))
    with pytest.raises(InvalidInput, match="a log or a table of a run must be a file, got a pipe or device"):
        log_tail(tmp_path, "0001")

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_records import run_record
from run_records import trial as made_trial

from analysis import indexed_ledger, ledger
from analysis.condensed_trial import CondensedTrial
from analysis.indexed_ledger import IndexedLedger
from analysis.leaderboard import Leaderboard, constants
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, Failure, TrialResult
from trainables.status import Status

finite = st.floats(allow_nan=False, allow_infinity=False)
configs = st.builds(
    lambda changes, size, root: TrialConfig.model_validate(
        {"data": {"root": root, "image_size": size}, "architecture": "resnet18", "strategy": "head", "epochs": 3}
        | {"lr": 0.01, **changes}
    ),
    st.fixed_dictionaries({}, optional={"lr": st.floats(1e-9, 1), "patience": st.integers(1, 3)}),
    st.integers(16, 64),
    st.sampled_from(["photos", "Fotos/é", "x\udcff"]),
)
reports = st.builds(
    EpochReport,
    epoch=st.integers(1, 9),
    metrics=st.fixed_dictionaries({}, optional={"val/macro_f1": finite, "val/loss": finite, "train/loss": finite}),
    seconds=st.floats(0, 1e6),
    checkpoint=st.just("best"),
    total_parameters=st.none() | st.integers(1, 10**9),
    trainable_parameters=st.none() | st.integers(0, 10**9),
)
trials = st.builds(
    TrialResult,
    trial_id=st.integers(0, 30).map("{:04d}".format),
    config=configs,
    parameters=st.dictionaries(
        st.sampled_from(["lr", "epochs", "x"]), st.none() | finite | st.text(max_size=5) | st.lists(st.integers())
    ),
    status=st.sampled_from(Status),
    reports=st.lists(reports, max_size=3).map(tuple),
    failure=st.none() | st.builds(Failure, message=st.text(max_size=9), traceback=st.text(max_size=9)),
)


@contextmanager
def index_of_few() -> Iterator[None]:
    """An index even of one record, however new."""
    with mock.patch.multiple(indexed_ledger, UNKNOWN_RECORDS=1, RECENT_SECONDS=-1e9):
        yield


def run_in(folder: Path, **record: Any) -> Ledger:
    made = Ledger(RunFolder(folder))
    made.write_run(run_record(**record))
    return made


def filled(folder: Path, count: int = 5) -> Ledger:
    made = run_in(folder)
    for number in range(count):
        made.write_trial(made_trial(number, epochs=2, status=Status.COMPLETED))
    return made


def index(folder: Path) -> Path:
    return folder / "trials" / ".index.json"


def condensed(run: RunFolder) -> list[str]:
    """The trials that the index knows."""
    return [trial.trial_id for trial in IndexedLedger(run).trials() if isinstance(trial, CondensedTrial)]


def shown(board: Leaderboard) -> tuple[Any, ...]:
    """All that a leaderboard prints."""
    rows = [repr(entry.row()) for entry in board.entries]
    alike = board.to_json(), board.to_csv(), board.to_markdown(), board.without_driver().to_json()
    return repr(alike), rows, repr(constants(board.entries)), board.problems


@given(st.lists(trials, max_size=9), st.lists(trials, max_size=4), st.sets(st.integers(0, 30), max_size=9))
@settings(max_examples=60)
def test_the_leaderboard_is_the_same_with_the_index(
    first: list[TrialResult], later: list[TrialResult], deleted: set[int]
) -> None:
    """After the first read, and again when records have been added, replaced, deleted and damaged."""
    with tempfile.TemporaryDirectory() as folder, index_of_few():
        own = run_in(Path(folder), probe={"resnet18": 0.5})

        def check() -> None:
            plain = shown(Leaderboard.from_run(own.run))
            for _ in range(2):
                assert shown(Leaderboard.from_ledger(IndexedLedger(own.run))) == plain

        for trial in first:
            own.write_trial(trial)
        check()
        for trial in later:
            own.write_trial(trial)
        for number in deleted:
            path = own.run.trials / f"{number:04d}.json"
            if path.is_file():
                path.unlink() if number % 2 else path.write_text("{")
        check()


def test_a_known_record_is_not_read_again(tmp_path: Path) -> None:
    own, parsed, read = filled(tmp_path), list[str](), ledger._readable_trial
    with (
        index_of_few(),
        mock.patch.object(ledger, "_readable_trial", lambda path, name: parsed.append(name) or read(path, name)),
    ):
        assert condensed(own.run) == []
        assert len(parsed) == 5
        parsed.clear()
        assert condensed(own.run) == [f"000{number}" for number in range(5)]
        assert parsed == []
        own.write_trial(made_trial(3, epochs=1))
        assert condensed(own.run) == ["0000", "0001", "0002", "0004"]
        assert parsed == ["0003"]


def test_a_run_of_few_trials_gets_no_index(tmp_path: Path) -> None:
    own = filled(tmp_path)
    assert len(IndexedLedger(own.run).trials()) == 5
    assert not index(tmp_path).exists()


def test_a_record_that_has_just_changed_is_read_again(tmp_path: Path) -> None:
    """It may change once more within the resolution of its time."""
    own = filled(tmp_path)
    os.utime(own.run.trials / "0002.json", (0, 0))
    with mock.patch.object(indexed_ledger, "UNKNOWN_RECORDS", 1):
        IndexedLedger(own.run).trials()
        assert condensed(own.run) == ["0002"]


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "folder", "gone"])
def test_an_index_that_cannot_be_used_is_done_without(damage: str, tmp_path: Path) -> None:
    own = filled(tmp_path)
    with index_of_few():
        plain = shown(Leaderboard.from_run(own.run))
        IndexedLedger(own.run).trials()
        path = index(tmp_path)
        text = path.read_text()
        path.unlink()
        if damage == "folder":
            path.mkdir()
        elif damage != "gone":
            changed = {"cut": text[:-9], "changed": text.replace('"0004"', '"0009"'), "empty": ""}
            path.write_text(changed[damage])
        assert shown(Leaderboard.from_ledger(IndexedLedger(own.run))) == plain
        assert len(condensed(own.run)) == (0 if damage == "folder" else 5), "and it is written anew"


def test_another_objective_makes_another_index(tmp_path: Path) -> None:
    own = filled(tmp_path)
    with index_of_few():
        IndexedLedger(own.run).trials()
        record: RunRecord = own.read_run()
        own.write_run(record.model_copy(update={"objective": Objective(metric="val/loss")}))
        assert condensed(own.run) == []
        assert Leaderboard.from_ledger(IndexedLedger(own.run)).entries[0].objective is None


def test_a_copied_run_is_read_anew(tmp_path: Path) -> None:
    """A copy has other files, even with the same times."""
    own = filled(tmp_path / "run")
    with index_of_few():
        IndexedLedger(own.run).trials()
        subprocess.run(["cp", "-a", tmp_path / "run", tmp_path / "copy"], check=True)
        assert condensed(RunFolder(tmp_path / "copy")) == []
        assert len(condensed(RunFolder(tmp_path / "copy"))) == 5


READER = """
import sys
from pathlib import Path
from unittest import mock
from analysis import indexed_ledger
from analysis.run_folder import RunFolder
with mock.patch.multiple(indexed_ledger, UNKNOWN_RECORDS=0, RECENT_SECONDS=-1e9):
    for number in range(10**9):
        assert len(indexed_ledger.IndexedLedger(RunFolder(Path(sys.argv[1]))).trials()) == 200
        (Path(sys.argv[1]) / "trials" / f"{number % 200:04d}.json").touch()
        print("read", flush=True)
"""


def test_readers_that_are_killed_leave_an_index_that_can_be_used(tmp_path: Path) -> None:
    """Two at once, each of which writes the index again and again."""
    own = filled(tmp_path, count=200)
    command = [sys.executable, "-c", READER, str(tmp_path)]
    for kill in range(3):
        readers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
        for reader in readers:
            assert reader.stdout is not None
            for _ in range(3 + kill):
                assert reader.stdout.readline() == b"read\n"
        for reader in readers:
            reader.kill()
            assert reader.wait() == -signal.SIGKILL
            assert reader.stdout is not None
            reader.stdout.close()
        with index_of_few():
            plain = shown(Leaderboard.from_run(own.run))
            assert len(condensed(own.run)) >= 190
            assert shown(Leaderboard.from_ledger(IndexedLedger(own.run))) == plain


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_reader_who_may_not_write_does_without_an_index(tmp_path: Path) -> None:
    own = filled(tmp_path)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o777 == 0o700:  # pytest's own, one more level with several workers
            folder.chmod(0o755)
    pid = os.fork()
    if pid == 0:
        count = 0
        try:
            os.setuid(65534)
            with index_of_few():
                count = len(IndexedLedger(own.run).trials())
        finally:
            os._exit(count)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert not index(tmp_path).exists()

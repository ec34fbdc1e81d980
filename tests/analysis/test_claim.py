"""Claims: exactly one winner in every round, and a take-over after which an older driver only adds ignored files."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import run_records
from run_records import run_record, trial

from analysis import claim
from analysis.claim import Claim, claim_run
from analysis.heartbeat import Heartbeat, read
from analysis.ledger import Ledger, write_record
from analysis.run_folder import RunFolder, claimed_run, open_run
from analysis.run_store import RunStore, write_atomically
from search_spaces.errors import InvalidInput
from trainables.status import Status
from trainables.storage.place import Place, as_place

RECORD = run_record()


@pytest.fixture(params=["folder", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return tmp_path / "run"
    return as_place(f"{request.getfixturevalue('bucket')}/run")


def drive(root: Place, before: Heartbeat | None = None) -> Claim:
    claim = claim_run(RunFolder(root), before)
    assert claim is not None
    return claim


def launch(root: Place) -> tuple[Claim, Ledger]:
    """A first driver with one finished trial and one that runs."""
    claim = drive(root)
    ledger = Ledger(claim.open())
    ledger.write_run(RECORD)
    ledger.write_trial(trial(0, 2, Status.COMPLETED))
    ledger.write_trial(trial(1, 1))
    return claim, ledger


def current(root: Place) -> Ledger:
    return Ledger(open_run(root))


def test_a_clean_end_keeps_the_names(root: Place) -> None:
    claim, ledger = launch(root)
    claim.end()
    second = drive(root, read(root))
    assert second.run.driver == 2
    assert Ledger(second.open()).run.trial("0001") == ledger.run.trial("0001")


def test_the_second_of_two_drivers_is_refused(root: Place) -> None:
    assert claim_run(RunFolder(root), None) is not None
    assert claim_run(RunFolder(root), None) is None
    before = read(root)
    assert claim_run(RunFolder(root), before) is not None
    assert claim_run(RunFolder(root), before) is None


def test_a_claim_on_a_run_that_has_changed_since_fails(root: Place) -> None:
    first, _ = launch(root)
    asleep = read(root)
    first.beat()
    assert claim_run(RunFolder(root), asleep) is None, "it is alive"
    drive(root, read(root)).withdraw()
    assert claim_run(RunFolder(root), None) is None
    assert sorted(path.name for path in root.iterdir() if path.name.startswith("driver")) == ["driver.json"]


@pytest.mark.parametrize("sleeper", ["older", "newer"])
def test_the_number_of_a_withdrawn_claim_makes_no_second_driver(sleeper: str, root: Place) -> None:
    """A process sleeps between its look at the run and its claim, while others claim and withdraw."""
    launch(root)
    first = read(root)
    second = drive(root, first)
    before = first if sleeper == "older" else read(root)
    third = drive(root, read(root)) if sleeper == "older" else None
    second.withdraw()
    if sleeper == "newer":
        third = drive(root, first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "read", lambda _root: before)  # what the sleeper has seen
        assert claim_run(RunFolder(root), before) is None
    assert third is not None
    assert third.successor() is None
    assert claimed_run(root).driver == third.run.driver


def test_a_driver_sees_its_successor_whatever_number_that_has(root: Place) -> None:
    first, _ = launch(root)
    second = drive(root, read(root))
    third = drive(root, read(root))
    second.withdraw()
    newer = first.successor()
    assert newer is not None
    assert newer.driver == third.run.driver == 3


def test_a_process_that_loses_leaves_a_request_to_stop(root: Place) -> None:
    winner = drive(root)
    winner.run.stop_request.touch()
    assert claim_run(RunFolder(root), None) is None
    assert winner.run.stop_request.exists()


def test_what_an_older_driver_writes_after_a_take_over_is_ignored(root: Place) -> None:
    _, old = launch(root)
    second = drive(root, read(root))
    new = Ledger(second.open())
    assert [t.trial_id for t in new.trials()] == ["0000", "0001"]
    seen = current(root).trials()

    old.write_trial(trial(1, 7, Status.COMPLETED))  # one that the new driver continues
    old.write_trial(trial(2, 1))  # one that began after the take-over
    old.update_run(driven_seconds=999.0, ended="budget")
    assert current(root).trials() == seen
    assert current(root).read_trial("0001") == trial(1, 1)
    new.update_run(driven_seconds=5.0)
    old.update_run(driven_seconds=1000.0)
    assert current(root).read_run().driven_seconds == 5.0

    new.write_trial(trial(2, 3))
    old.write_trial(trial(2, 4))
    assert current(root).read_trial("0002") == trial(2, 3)
    assert current(root).next_number() == 3


def test_a_third_driver_inherits_from_both(root: Place) -> None:
    launch(root)
    second = Ledger(drive(root, read(root)).open())
    second.write_trial(trial(1, 2, Status.COMPLETED))
    second.write_trial(trial(2, 1))
    third = Ledger(drive(root, read(root)).open())
    assert third.trials() == [trial(0, 2, Status.COMPLETED), trial(1, 2, Status.COMPLETED), trial(2, 1)]
    assert [each.number for each in third.run.generations] == [1, 2, 3]
    assert sorted(path.name for path in third.run.trials.iterdir()) == ["0000.json", "0001.2.json", "0002.3.json"]


def test_checkpoints_of_two_drivers_do_not_meet(tmp_path: Path) -> None:
    root = tmp_path / "run"
    _, old = launch(root)
    for place in (old.run.best("0001"), old.run.last("0001")):
        place.mkdir(parents=True)
        (place / "state.json").write_text("epoch 1")
    old.run.predictions("0001").parent.mkdir()
    old.run.predictions("0001").write_text("epoch 1")
    new = drive(root, read(root)).open()
    RunStore(new).inherit("0001")
    RunStore(new).inherit("0001")
    for place in (new.best("0001"), new.last("0001")):
        assert (place / "state.json").read_text() == "epoch 1"
    assert new.predictions("0001").read_text() == "epoch 1"
    old.run.last("0001").mkdir(parents=True)
    (old.run.last("0001") / "state.json").write_text("epoch 2 of a driver that was taken for dead")
    assert (new.last("0001") / "state.json").read_text() == "epoch 1"
    assert RunStore(new).newest(lambda layer: layer.last("0001")) == new.last("0001")


def test_a_withdrawn_claim_leaves_nothing(root: Place) -> None:
    claim = drive(root)
    claim.withdraw()
    assert read(root) is None
    assert drive(root).run.driver == 1


def test_a_successor_is_seen(root: Place) -> None:
    claim, _ = launch(root)
    assert claim.successor() is None
    second = drive(root, read(root))
    newer = claim.successor()
    assert newer is not None
    assert newer.driver == 2
    claim.beat()
    claim.end()
    assert second.successor() is None
    found = read(root)
    assert found is not None
    assert (found.driver, found.ended) == (2, False)


def compete(place: str, rounds: int, barrier: Any, won: Any) -> None:
    for number in range(rounds):
        run = RunFolder(as_place(place) / f"{number:04d}")
        barrier.wait()
        won.put((number, claim_run(run, None) is not None))


def winners(place: Place, rounds: int, processes: int) -> list[int]:
    """Let processes claim the same runs at the same moments; return the number of winners per round."""
    context = multiprocessing.get_context("spawn")
    barrier, won = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=compete, args=(str(place), rounds, barrier, won), daemon=True) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    counts = [0] * rounds
    for _ in range(rounds * processes):
        number, first = won.get(timeout=300)
        counts[number] += first
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    return counts


@pytest.mark.timeout(3600)
def test_one_of_many_processes_wins(root: Place) -> None:
    rounds, processes = (1000, 16) if "THAW_FAULTS" in os.environ else (30, 4)  # `make faults` sets it
    assert winners(root, rounds, processes) == [1] * rounds


# A driver that is killed right before its n-th call of a function that changes a file.
KILLED = """
import builtins, os, pathlib, shutil, signal, sys
left = int(sys.argv[2])

def counted(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

from pathlib import Path
from analysis.claim import claim_run
from analysis.heartbeat import read
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from run_records import run_record, trial

for owner, names in ((os, ("fsync", "link")), (Path, ("mkdir", "open", "replace", "rename", "hardlink_to", "unlink"))):
    for name in names:
        setattr(owner, name, counted(getattr(owner, name)))

root = Path(sys.argv[1])
claim = claim_run(RunFolder(root), read(root))
ledger = Ledger(claim.open())
ledger.write_run(run_record())
for old in ledger.trials():
    if old.status.unfinished:
        ledger.write_trial(trial(int(old.trial_id), len(old.reports) + 1))
ledger.write_trial(trial(ledger.next_number(), 1))
claim.end()
print("done")
"""


def start_killed(root: Path, steps: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(run_records.__file__).parent)}
    command = [sys.executable, "-c", KILLED, str(root), str(steps)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


@pytest.mark.soak
def test_a_take_over_may_be_interrupted_at_every_step(tmp_path: Path) -> None:
    for steps in range(200):
        root = tmp_path / f"run{steps}"
        launch(root)
        ran = start_killed(root, steps)
        if ran.returncode == 0:
            break
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        before = {t.trial_id: len(t.reports) for t in current(root).trials()}
        assert set(before) >= {"0000", "0001"}
        assert current(root).read_run().name == "trash"
        third = Ledger(drive(root, read(root)).open())
        after = {t.trial_id: len(t.reports) for t in third.trials()}
        assert all(after[name] >= epochs for name, epochs in before.items())
        assert third.problems == ()
    assert ran.stdout == "done\n"
    assert steps > 20


def test_damaged_and_foreign_files_cost_themselves_alone(root: Place) -> None:
    _, ledger = launch(root)
    (root / "trials" / "0001.json").write_bytes(b"{")
    for name in ("notes.txt", "0000 (copy).json", "0000.json~", "x.y.json"):
        (root / "trials" / name).write_bytes(b"{}")
    assert ledger.trials() == [trial(0, 2, Status.COMPLETED)]
    *foreign, damaged = ledger.problems
    assert "trials/0001.json: a record must be JSON" in damaged
    assert [problem.partition(": must be the record of a trial")[0].partition("trials/")[2] for problem in foreign] == [
        "0000 (copy).json",
        "0000.json~",
        "notes.txt",
        "x.y.json",
    ]
    assert ledger.next_number() == 2


def test_an_old_run_has_no_heartbeat(tmp_path: Path) -> None:
    write_record(tmp_path / "run.json", RECORD)
    assert claimed_run(tmp_path) == RunFolder(tmp_path)
    assert drive(tmp_path, read(tmp_path)).run.driver == 1


@pytest.mark.parametrize("damage", ["damaged", "deleted"])
def test_generations_are_known_without_the_record_of_the_newest_driver(damage: str, root: Place) -> None:
    _, old = launch(root)
    new = Ledger(drive(root, read(root)).open())
    new.write_run(RECORD)
    new.write_trial(trial(1, 3, Status.COMPLETED))
    new.write_trial(trial(2, 1))
    old.write_trial(trial(1, 9))
    seen = current(root).trials()
    if damage == "damaged":
        write_atomically(new.run.heartbeat, '{"dri')
    else:
        new.run.heartbeat.unlink()
    assert current(root).trials() == seen
    if damage == "damaged":
        with pytest.raises(InvalidInput, match=r"driver\.2\.json: a record must be JSON"):
            read(root)
        new.run.heartbeat.unlink()
    third = Ledger(drive(root, read(root)).open())
    assert third.trials() == seen
    assert third.next_number() == 3


def test_a_record_of_an_unknown_driver_is_reported(root: Place) -> None:
    _, ledger = launch(root)
    write_atomically(root / "trials" / "0001.7.json", "{}")
    assert [each.trial_id for each in ledger.trials()] == ["0000", "0001"]
    assert "0001.7.json: must be of a driver of the run, but none has the number 7" in ledger.problems[0]


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_reported_and_never_waited_for(kind: str, tmp_path: Path) -> None:
    _, ledger = launch(tmp_path)
    path = tmp_path / "trials" / "0005.json"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    assert len(ledger.trials()) == 2
    assert f"0005.json: a record must be a file, got a {kind}" in ledger.problems[0]


def test_a_copied_heartbeat_is_named(tmp_path: Path) -> None:
    launch(tmp_path)
    (tmp_path / "driver.9.json").write_bytes((tmp_path / "driver.json").read_bytes())
    with pytest.raises(InvalidInput, match=r"driver\.9\.json: driver must be 9 .*, got 1; .*delete it"):
        read(tmp_path)

"""Take-overs: whatever a driver that was taken for dead still does, readers find the state of its successor."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from interleaving import Choice, hook_operations, paused_at, shuffled, take_turns
from run_records import run_record
from safetensors.torch import load_file
from torch import nn

from analysis.claim import Claim, claim_run
from analysis.heartbeat import Heartbeat, read
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, claimed_run, open_run
from analysis.run_store import RunStore
from search_spaces.errors import ThawError
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.loop.checkpoint import WEIGHTS, save_checkpoint
from trainables.result import EpochReport, TrialResult
from trainables.status import Status
from trainables.storage.place import Place, as_place

CONFIG = TrialConfig.from_mapping(
    {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 9, "lr": 0.1}, "test"
)
RECORD = run_record()
RAISED = (ThawError, OSError)

# `make faults` stops a driver at every single operation, and tries hundreds of orders.
IS_HUNT = "THAW_FAULTS" in os.environ
pytestmark = [pytest.mark.seconds(60), pytest.mark.timeout(3600 if IS_HUNT else 600)]


def trial(number: int, epochs: int, status: Status = Status.RUNNING) -> TrialResult:
    reports = tuple(
        EpochReport(epoch=epoch, metrics={"val/macro_f1": epoch / 10}, seconds=1, checkpoint="best")
        for epoch in range(1, epochs + 1)
    )
    return TrialResult(trial_id=f"{number:04d}", config=CONFIG, parameters={}, status=status, reports=reports)


def train(run: RunFolder, number: int, epochs: int) -> None:
    """Write what a worker writes after an epoch; every file carries the number of the epoch."""
    result, store = trial(number, epochs), RunStore(run)
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, epochs)
    state = CheckpointState(
        config=CONFIG, classes=("a", "b"), fingerprint="0", mean=(0, 0, 0), std=(1, 1, 1), reports=result.reports
    )
    best, last = run.best(result.trial_id), run.last(result.trial_id)
    save_checkpoint(run.here(best), model.state_dict(), state)
    store.publish(best)
    save_checkpoint(run.here(last), model.state_dict(), state, weights_in=run.here(best))
    store.publish(last)


def epoch_of(run: RunFolder, place_of: Callable[[RunFolder], Place]) -> int | None:
    """The epoch of a checkpoint, which must be whole."""
    store = RunStore(run)
    return epoch_in(store, store.newest(place_of))


def epoch_in(store: RunStore, place: Place) -> int | None:
    with store.reading(place) as folder:
        if not folder.exists():
            return None
        epochs = len(CheckpointState.read(folder).reports)
        assert load_file(folder / WEIGHTS)["weight"].item() == epochs, "weights and state are of two epochs"
        return epochs


def state_of(root: Place) -> dict[str, Any]:
    """Everything that readers find."""
    run = open_run(root)
    ledger = Ledger(run)
    trials = ledger.trials()
    assert ledger.problems == ()
    ids = [each.trial_id for each in trials]
    return {
        "trials": trials,
        "record": ledger.read_run(),
        "driver": claimed_run(root).driver,
        "best": {name: epoch_of(run, lambda layer, name=name: layer.best(name)) for name in ids},
        "last": {name: epoch_of(run, lambda layer, name=name: layer.last(name)) for name in ids},
    }


def launch(root: Place, cache: Path) -> Claim:
    """A first driver with one finished trial and two that run."""
    claim = claim_run(RunFolder(root, cache / "first"), None)
    assert claim is not None
    ledger = Ledger(claim.open())
    ledger.write_run(RECORD)
    for number, epochs, status in ((0, 2, Status.COMPLETED), (1, 1, Status.RUNNING), (2, 1, Status.RUNNING)):
        train(claim.run, number, epochs)
        ledger.write_trial(trial(number, epochs, status))
    return claim


def succeed(root: Place, cache: Path, before: Heartbeat | None, seconds: float = 77.0) -> Claim | None:
    """Drive the run as the successor of a driver that was taken for dead: continue its trials, and begin another."""
    claim = claim_run(RunFolder(root, cache), before)
    if claim is None:
        return None
    run = claim.open()
    ledger, store = Ledger(run), RunStore(run)
    ledger.update_run(driven_seconds=seconds, ended=None)
    unfinished = [each for each in ledger.trials() if each.status.unfinished]
    for each in unfinished:
        number = int(each.trial_id)
        store.inherit(each.trial_id)
        # Those of this generation: a worker finds what was inherited, or begins anew.
        epochs, best = (epoch_in(store, place(each.trial_id)) or 0 for place in (run.last, run.best))
        # A successor deletes what it has inherited.
        assert best >= epochs or claim.successor() is not None, "the record names an epoch whose weights are lost"
        train(run, number, epochs + 1)
        ledger.write_trial(trial(number, epochs + 1))
    new = ledger.next_number()
    ledger.write_trial(trial(new, 0))
    train(run, new, 1)
    ledger.write_trial(trial(new, 1))
    claim.beat()
    return claim


def go_on(claim: Claim) -> None:
    """Do what a driver and its workers do between two looks at the heartbeat."""
    ledger = Ledger(claim.run)
    for number in (1, 2):
        train(claim.run, number, 5)
        ledger.write_trial(trial(number, 5, Status.COMPLETED))
    new = ledger.next_number()
    ledger.write_trial(trial(new, 1))
    train(claim.run, new, 1)
    ledger.update_run(driven_seconds=999.0, ended="budget")
    claim.beat()
    claim.end()


@pytest.fixture(params=["folder", "bucket"])
def new_root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[int], Place]]:
    torch.manual_seed(0)
    top = tmp_path if request.param == "folder" else as_place(request.getfixturevalue("bucket"))
    yield lambda number: top / f"run{number}"


Old = Callable[[Place, Path, Claim], Callable[[], Any]]


def first_driver(_root: Place, _cache: Path, claim: Claim) -> Callable[[], Any]:
    return lambda: go_on(claim)


def second_driver(root: Place, cache: Path, _claim: Claim) -> Callable[[], Any]:
    """It has taken over itself, and is interrupted in turn."""
    before = read(root)
    return lambda: succeed(root, cache / "second", before, seconds=55.0)


def driver_that_withdraws(root: Place, cache: Path, _claim: Claim) -> Callable[[], Any]:
    before = read(root)

    def leave() -> None:
        claim = claim_run(RunFolder(root, cache / "second"), before)
        if claim is not None:
            claim.withdraw()

    return leave


OLD: list[Old] = [first_driver, second_driver, driver_that_withdraws]


@pytest.mark.parametrize("old", OLD)
def test_a_driver_that_is_stopped_between_any_two_operations(
    old: Old, new_root: Callable[[int], Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook_operations(monkeypatch)
    steps, stride = 0, 1 if IS_HUNT else 23 if isinstance(new_root(0), Path) else 97
    while True:
        root, expected = new_root(steps), dict[str, Any]()
        claim, done = launch(root, tmp_path / f"cache{steps}"), 0
        choose = paused_at(steps)

        def counted(taken: int, number: int, running: Any, choose: Choice = choose) -> int:
            nonlocal done
            done = max(done, taken if number == 0 else 0)
            return choose(taken, number, running)

        def take_over(root: Place = root, steps: int = steps, expected: dict[str, Any] = expected) -> Claim | None:
            claim = succeed(root, tmp_path / f"cache{steps}" / "successor", read(root))
            expected |= state_of(root) if claim is not None else {}
            return claim

        former, successor = take_turns(counted, old(root, tmp_path / f"cache{steps}", claim), take_over)
        assert former is None or isinstance(former, (Claim, *RAISED)), repr(former)
        assert isinstance(successor, Claim), f"step {steps}: {successor!r}"
        assert state_of(root) == expected, f"step {steps}"
        assert claim.successor() is not None
        if done < steps:
            break
        steps += stride
    assert steps > 5


@pytest.mark.parametrize("old", OLD)
def test_two_drivers_in_any_order(
    old: Old, new_root: Callable[[int], Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook_operations(monkeypatch)
    for seed in range(300 if IS_HUNT else 5 if isinstance(new_root(0), Path) else 2):
        root, cache = new_root(seed), tmp_path / f"cache{seed}"
        claim = launch(root, cache)
        found: list[list[str]] = []

        def look(root: Place = root, found: list[list[str]] = found) -> None:
            for _ in range(5):
                ledger = Ledger(open_run(root))
                found.append([each.trial_id for each in ledger.trials()])
                assert ledger.problems == ()
                assert ledger.read_trial("0001").trial_id == "0001"

        results = take_turns(
            shuffled(seed),
            old(root, cache, claim),
            lambda root=root, cache=cache: succeed(root, cache / "new", read(root)),
            look,
        )
        assert all(result is None or isinstance(result, (Claim, *RAISED)) for result in results[:2]), results
        assert results[2] is None, f"seed {seed}: {results[2]!r}"
        assert all(ids[:3] == ["0000", "0001", "0002"] for ids in found), f"seed {seed}: {found}"
        newest = [claim for claim in results[:2] if isinstance(claim, Claim) and claim.successor() is None]
        if newest:
            assert len(newest) == 1, f"seed {seed}: two drivers"
            assert state_of(root)["record"].driven_seconds in (55.0, 77.0)
        third = succeed(root, cache / "third", read(root), seconds=99.0)
        assert third is not None
        state = state_of(root)
        assert state["record"].driven_seconds == 99.0
        assert [each.trial_id for each in state["trials"]][:3] == ["0000", "0001", "0002"]
        for each in state["trials"][1:]:
            if each.status.unfinished:
                assert state["last"][each.trial_id] == state["best"][each.trial_id] == len(each.reports), f"seed {seed}"


def test_a_checkpoint_that_is_written_while_it_is_inherited(
    new_root: Callable[[int], Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook_operations(monkeypatch)
    for seed in range(300 if IS_HUNT else 40 if isinstance(new_root(0), Path) else 5):
        root, cache = new_root(seed), tmp_path / f"cache{seed}"
        old = launch(root, cache).run
        claim = claim_run(RunFolder(root, cache / "new"), read(root))
        assert claim is not None
        store = RunStore(claim.open())
        results = take_turns(
            shuffled(seed), lambda old=old: train(old, 1, 2), lambda store=store: store.inherit("0001")
        )
        assert results[1] is None, f"seed {seed}: {results[1]!r}"
        assert results[0] is None or isinstance(results[0], RAISED), f"seed {seed}: {results[0]!r}"
        best, last = (epoch_in(store, place("0001")) for place in (store.run.best, store.run.last))
        assert last in (1, 2), f"seed {seed}"
        assert best is not None
        assert best >= last, f"seed {seed}: the record names an epoch whose weights are lost"

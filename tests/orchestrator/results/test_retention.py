from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from analysis.run_store import RunStore, write_atomically
from orchestrator.results.retention import remove_weights, trial_weights
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.status import Status
from trainables.storage.place import as_place

STATUSES = [Status.COMPLETED, Status.PRUNED, Status.COMPLETED, Status.FAILED, Status.INTERRUPTED, Status.COMPLETED]


def ended(trial: Callable[..., TrialResult], number: int, status: Status) -> TrialResult:
    """A trial whose objective is its number."""
    return trial(f"{number:04d}", [number / 10], status)


@pytest.fixture(params=["folder", "bucket"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    root = str(tmp_path / "runs") if request.param == "folder" else f"{request.getfixturevalue('bucket')}/runs"
    run = RunFolder(as_place(root) / "sweep", tmp_path / "cache")
    for number in range(len(STATUSES)):
        trial_id = f"{number:04d}"
        for folder in (run.best(trial_id), run.last(trial_id)):
            run.here(folder).mkdir(parents=True)
            (run.here(folder) / "state.json").write_text("{}")
            RunStore(run).publish(folder)
        run.here(run.predictions(trial_id)).parent.mkdir(exist_ok=True)
        run.here(run.predictions(trial_id)).write_text("")
        RunStore(run).publish(run.predictions(trial_id))
    return run


@pytest.mark.parametrize(("keep_best", "kept"), [(1, ["0005"]), (2, ["0002", "0005"]), (9, ["0000", "0002", "0005"])])
def test_only_the_best_keep_their_weights(
    run: RunFolder, trial: Callable[..., TrialResult], keep_best: int, kept: list[str]
) -> None:
    trials = [ended(trial, number, status) for number, status in enumerate(STATUSES)]
    board = Leaderboard.from_trials(Objective(), trials)
    remove_weights(run, board, keep_best)
    remove_weights(run, board, keep_best)
    store, ids = RunStore(run), [f"{number:04d}" for number in range(len(STATUSES))]
    assert [name for name in ids if store.has(run.best(name))] == sorted([*kept, "0004"])
    assert [name for name in ids if store.has(run.last(name))] == ["0004"], "a resumed sweep goes on with it"
    assert all(store.has(run.predictions(name)) for name in ids)


def test_weights_that_are_gone_are_told_with_the_remedy(
    run: RunFolder, small_spec: Callable[..., SweepSpec], trial: Callable[..., TrialResult]
) -> None:
    write_atomically(run.sweep_yaml, small_spec(storage={"keep_best": 1}).to_yaml())
    record: dict[str, Any] = {"distributions": {}, "fingerprint": "", "sample_counts": {}, "versions": {}, "space": {}}
    created, planned = datetime(2026, 1, 1, tzinfo=UTC), len(STATUSES)
    Ledger(run).write_run(
        RunRecord(
            **record, name="s", objective=Objective(), created=created, classes=("a", "b"), trials_planned=planned
        )
    )
    for number, status in enumerate(STATUSES):
        Ledger(run).write_trial(ended(trial, number, status))
    remove_weights(run, Leaderboard.from_run(run), 1)
    with trial_weights(run, ended(trial, 5, Status.COMPLETED)) as folder:
        assert (folder / "state.json").is_file()
    said = (
        r"must have a checkpoint, got 0002, which is COMPLETED and has none: storage\.keep_best is 1, the weights of "
        r"the others were removed when the sweep ended; there are those of 0005, 0004, or train it again from its "
        r"`config` in .*trials/0002\.json with `thaw trial`"
    )
    with pytest.raises(InvalidInput, match=said), trial_weights(run, ended(trial, 2, Status.COMPLETED)):
        pass

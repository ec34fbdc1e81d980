"""Sweeps of trials with two workers, whose processes are killed, stopped and disturbed; real ones, under Tune."""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.sweep import SweepOutcome, resume_sweep, run_sweep
from orchestrator.spec.loading import load
from orchestrator.tracking.observer import TrialCallback
from search_spaces.errors import InvalidInput, StorageFailed
from trainables.result import TrialResult
from trainables.status import Status

# Room for one trial with two workers.
pytestmark = [pytest.mark.soak, pytest.mark.seconds(160), pytest.mark.usefixtures("ray_here")]

Change = Callable[[TrialResult], None]

# Without BatchNorm, which normalises by each rank's own share of a batch.
ALIKE = {"architecture": "test_convnext", "strategy": "gradual", "last_stage_epoch": 1, "full_after": 1, "epochs": 8}
ALIKE |= {"optimizer": "sgd", "lr": 0.001}
ONE_SPACE = {"lr": {"choice": [0.001, 0.002, 0.004]}}
POINTS = [{"lr": lr} for lr in (0.001, 0.002, 0.004)]


@pytest.fixture
def sweep(write_sweep: Callable[..., Path], tmp_path: Path) -> Callable[..., SweepOutcome]:
    """Runs the three points with the given resources to their end."""

    def run(on_change: Change = lambda _trial: None, name: str = "sweep", **sections: Any) -> SweepOutcome:
        trial = {key: value for key, value in ALIKE.items() if key != "lr"}
        given = {"trial": trial, "space": ONE_SPACE, "search": {"trials": 3, "points": POINTS}, **sections}
        return run_sweep(load(write_sweep(tmp_path, name=name, **given)), observers=[TrialCallback(on_change)])

    return run


def test_two_workers_compute_what_one_computes_also_when_each_of_them_is_killed(
    assert_nothing_is_left: Callable[[set[int]], None], sweep: Callable[..., SweepOutcome], tmp_path: Path
):
    run = RunFolder(tmp_path / "runs" / "two")
    killed: dict[str, int] = {}

    def kill(trial: TrialResult) -> None:
        """Rank 0 in the second trial, rank 1 in the third, each once, after an epoch."""
        victim = {"0001": 0, "0002": 1}.get(trial.trial_id)
        if victim is not None and len(trial.reports) >= 2 and trial.trial_id not in killed:
            killed[trial.trial_id] = rank_pids(run, trial.trial_id)[victim]
            os.kill(killed[trial.trial_id], signal.SIGKILL)

    two = sweep(kill, name="two", resources={"workers": 2})
    pids = {pid for number in range(3) for pid in rank_pids(run, f"{number:04d}")}
    assert_nothing_is_left(pids)
    assert set(killed) == {"0001", "0002"}
    assert len(pids) == 6, "the first ranks serve two trials, until one is killed"
    one = sweep(name="one")
    for ours, theirs in zip(Ledger(two.run).trials(), Ledger(one.run).trials(), strict=True):
        assert ours.status is theirs.status is Status.COMPLETED
        assert [report.epoch for report in ours.reports] == list(range(1, 9))
        resumed = re.findall(r"resumed after epoch (\d+)", run.log(ours.trial_id).read_text())
        assert len(resumed) == (ours.trial_id in killed)
        assert all(2 <= int(epoch) < 8 for epoch in resumed)
        for mine, yours in zip(ours.reports, theirs.reports, strict=True):
            assert mine.metrics == pytest.approx(yours.metrics, rel=1e-4)
            assert mine.checkpoint == yours.checkpoint


def test_ranks_stay_from_trial_to_trial_under_asha_and_go_with_the_sweep(
    assert_nothing_is_left: Callable[[set[int]], None], sweep: Callable[..., SweepOutcome]
):
    outcome = sweep(
        trial={"architecture": "test_convnext", "strategy": "head", "epochs": 3},
        space={"lr": {"log": [1e-4, 1e-1]}},
        search={"trials": 8, "sampler": "random"},
        stopping={"asha": {"grace": 1, "reduction": 2}},
        resources={"workers": 2},
    )
    trials = Ledger(outcome.run).trials()
    ends = Counter(trial.status for trial in trials)
    assert set(ends) == {Status.COMPLETED, Status.PRUNED}, ends
    pids = {pid for trial in trials for pid in rank_pids(outcome.run, trial.trial_id)}
    assert len(pids) == 2
    gaps = between_trials(outcome.run, trials)
    assert sorted(gaps)[len(gaps) // 2] < 0.5, gaps
    assert_nothing_is_left(pids)


def test_trials_that_hang_time_out_and_the_sweep_goes_on(
    assert_nothing_is_left: Callable[[set[int]], None], sweep: Callable[..., SweepOutcome], tmp_path: Path
):
    for workers in (1, 2):
        name = f"workers-{workers}"
        run = RunFolder(tmp_path / "runs" / name)
        stopped: list[int] = []

        def stop(trial: TrialResult, run: RunFolder = run, stopped: list[int] = stopped) -> None:
            if trial.trial_id == "0001" and trial.reports and not stopped:
                stopped.append(rank_pids(run, "0001")[-1])
                os.kill(stopped[0], signal.SIGSTOP)

        outcome = sweep(stop, name=name, resources={"workers": workers, "epoch_timeout": 30})
        trials = Ledger(outcome.run).trials()
        assert [trial.status for trial in trials] == [Status.COMPLETED, Status.TIMED_OUT, Status.COMPLETED]
        failure = trials[1].failure
        assert failure is not None
        assert "must end within 30 s (resources.epoch_timeout)" in failure.message
        log = run.log("0001").read_text()
        assert log.count(" trial 0001: ") == 1, "what hangs is not tried again"
        board = {entry.trial.trial_id: entry.to_json() for entry in outcome.leaderboard.entries}
        assert board["0001"]["failure"] == failure.message
        assert_nothing_is_left({pid for number in range(3) for pid in rank_pids(run, f"{number:04d}")})


def test_a_storage_that_fails_one_rank_ends_the_sweep_which_can_be_resumed(
    assert_nothing_is_left: Callable[[set[int]], None], sweep: Callable[..., SweepOutcome], tmp_path: Path
):
    run = RunFolder(tmp_path / "runs" / "sweep")

    def obstruct(trial: TrialResult) -> None:
        """Rank 0, which writes the checkpoints, finds a file in place of the folder; the other waits for it."""
        if trial.trial_id == "0000" and not run.checkpoints("0001").exists():
            run.checkpoints("0001").parent.mkdir(parents=True, exist_ok=True)
            run.checkpoints("0001").write_text("in the way")

    with pytest.raises(StorageFailed, match=r"checkpoints: cannot write 0001 .*: go on with `thaw resume "):
        sweep(obstruct, resources={"workers": 2})
    assert Ledger(run).trials()[0].status is Status.COMPLETED
    run.checkpoints("0001").unlink()
    resume_sweep(run.root)
    trials = Ledger(run).trials()
    assert [trial.status for trial in trials] == [Status.COMPLETED] * 3
    assert_nothing_is_left({pid for number in range(3) for pid in rank_pids(run, f"{number:04d}")})


def test_a_loss_that_is_not_finite_ends_the_trial_and_leaves_the_ranks(sweep: Callable[..., SweepOutcome]):
    trial = {"architecture": "test_efficientnet", "strategy": "full", "epochs": 2}
    points = [{"lr": 1e-3}, {"lr": 90.0}, {"lr": 1e-3}]
    outcome = sweep(
        trial={**trial, "optimizer": "sgd", "weight_decay": 0.0},
        space={"lr": {"choice": [1e-3, 90.0]}},
        search={"trials": 3, "points": points},
        resources={"workers": 2},
    )
    trials = Ledger(outcome.run).trials()
    assert [trial.status for trial in trials] == [Status.COMPLETED, Status.FAILED, Status.COMPLETED]
    failure = trials[1].failure
    assert failure is not None
    assert "loss must be finite" in failure.message
    assert len({pid for trial in trials for pid in rank_pids(outcome.run, trial.trial_id)}) == 2


def test_what_can_never_fit_is_refused_before_anything_is_written(sweep: Callable[..., SweepOutcome], tmp_path: Path):
    for resources in ({"workers": 3}, {"cpus_per_worker": 4}, {"workers": 2, "gpus_per_worker": 1}):
        with pytest.raises(
            InvalidInput,
            match=r"^resources: a trial must fit on this machine, got .* for one, and 2 CPU and 0 GPU here",
        ):
            sweep(resources=resources)
    assert not (tmp_path / "runs" / "sweep").exists()


def rank_pids(run: RunFolder, trial_id: str) -> list[int]:
    """The processes of a trial's ranks in order, those of each try."""
    found = re.findall(r"\[(\d+)\] INFO orchestrator: rank (\d) of \d on ", run.log(trial_id).read_text())
    return [int(pid) for pid, _ in sorted(found, key=lambda item: int(item[1]))]


def between_trials(run: RunFolder, trials: list[TrialResult]) -> list[float]:
    """Seconds from each trial's last epoch to when its successor has begun to train."""
    lines = [line for trial in trials for line in run.log(trial.trial_id).read_text().splitlines()]
    moments = sorted(
        (datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f"), " rank 0 of 2 " in line)
        for line in lines
        if " rank 0 of 2 " in line or " orchestrator: epoch " in line
    )
    return [(begun - ended).total_seconds() for (ended, _), (begun, is_begin) in pairwise(moments) if is_begin]

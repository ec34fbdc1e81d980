"""A disk that fills up in the middle of a sweep: said as such, nothing lost, gone on with once there is room."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import heartbeat
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.status import Status

pytestmark = [pytest.mark.soak, pytest.mark.seconds(90)]

TRIALS = 6


@pytest.mark.timeout(2400)
def test_a_full_disk_stops_the_sweep_and_loses_nothing(
    small_disk: tuple[Path, Callable[[int], None]],
    write_sweep: Callable[..., Path],
    thaw: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
):
    disk, resize = small_disk
    resize(8)
    file = write_sweep(tmp_path, search={"trials": TRIALS}, storage={"root": str(disk)})
    run = RunFolder(disk / "sweep")
    ended = thaw("sweep", file, "--quiet", cwd=tmp_path, timeout=900)
    assert ended.returncode == 1, ended.stderr
    assert "the disk is full" in ended.stderr
    assert "free some space" in ended.stderr
    assert f"go on with `thaw resume {run.root}`" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not heartbeat.is_alive(run.root)
    before = Ledger(run).trials()
    assert before
    assert not [trial for trial in before if trial.status is Status.FAILED], "it is no trial's fault"
    finished = {t.trial_id: Ledger(run).path(t.trial_id).read_bytes() for t in before if not t.status.unfinished}

    still_full = thaw("resume", run.root, "--quiet", cwd=tmp_path, timeout=900)
    assert still_full.returncode == 1, still_full.stderr
    assert "the disk is full" in still_full.stderr
    assert "Traceback" not in still_full.stderr

    resize(200)
    resumed = thaw("resume", run.root, "--quiet", cwd=tmp_path, timeout=900)
    assert resumed.returncode == 0, resumed.stderr
    trials = Ledger(run).trials()
    assert [trial.trial_id for trial in trials] == [f"{number:04d}" for number in range(TRIALS)]
    assert {trial.status for trial in trials} == {Status.COMPLETED}
    assert all(Ledger(run).path(trial_id).read_bytes() == record for trial_id, record in finished.items())

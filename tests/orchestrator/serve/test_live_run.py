import time
from pathlib import Path

from report_runs import trial, unpacked

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.serve.live_run import LiveRun
from orchestrator.serve.refresher import Refresher


def test_curves_follow_at_once_and_other_figures_later(runs: Path, refresher: Refresher) -> None:
    live, ledger = LiveRun(runs / "first", refresher), Ledger(RunFolder(runs / "first"))
    assert live.part.current().text.count("<section>") >= 5
    ledger.write_trial(trial(4))
    deadline = time.monotonic() + 10
    counts = []
    while not counts or counts[-1] < 4:
        assert time.monotonic() < deadline
        counts.append(unpacked(live.part.current().text).count("trial 0004 (COMPLETED)"))
        time.sleep(0.1)
    assert 1 in counts, "the curves alone, before the others are drawn"


def test_a_run_that_comes_later(tmp_path: Path, refresher: Refresher) -> None:
    live = LiveRun(tmp_path / "none", refresher)
    assert "must be an existing folder" in live.part.current().text

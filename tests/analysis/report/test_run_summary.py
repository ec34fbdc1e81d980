from dataclasses import replace

import pytest

from analysis.ledger import Ledger
from analysis.report.panel import RunData
from analysis.report.run_summary import RunCourse, RunSummary
from analysis.run_folder import RunFolder
from trainables.status import Status


def test_the_facts_of_a_run(run: RunFolder) -> None:
    found = RunSummary.of(RunData.of(run))
    assert (found.name, found.planned, found.ended) == ("trash", 26, 26)
    assert found.counts == {Status.COMPLETED: 24, Status.PRUNED: 1, Status.FAILED: 1}
    assert found.best == pytest.approx(0.7944, abs=1e-4)
    assert found.course is RunCourse.DONE


def test_a_run_without_trials(empty: RunFolder) -> None:
    data = RunData.of(empty)
    found = RunSummary.of(data)
    assert (found.best, found.ended, found.planned) == (None, 0, 3)
    assert found.course is RunCourse.STOPPED
    assert RunSummary.of(replace(data, is_driven=True)).course is RunCourse.RUNNING
    Ledger(empty).update_run(ended="budget.hours: 1 of 1")
    assert RunSummary.of(RunData.of(empty)).course is RunCourse.ENDED

from typing import Any

import pytest
from run_records import CONFIG, trial

from analysis.condensed_trial import CondensedTrial, Condenser, EpochTotals, epoch_totals
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, Failure, TrialResult
from trainables.status import Status

LOSS = Objective(metric="val/loss")


def config(**changes: Any) -> TrialConfig:
    return TrialConfig.model_validate({**CONFIG, **changes})


def report(epoch: int, **changes: Any) -> EpochReport:
    metrics = {"val/macro_f1": epoch / 10, "val/loss": epoch / 5}
    return EpochReport(**{"epoch": epoch, "metrics": metrics, "seconds": 2, "checkpoint": "best", **changes})


def test_the_totals_are_by_the_objective_that_is_asked_for() -> None:
    sizes = {"total_parameters": 9, "trainable_parameters": 4}
    own = trial(0, 0).model_copy(update={"reports": (report(1, **sizes), report(2, total_parameters=9))})
    assert epoch_totals(Objective(), own) == EpochTotals(2, 4.0, 2, own.reports[1].metrics, 9, 4)
    assert epoch_totals(LOSS, own) == EpochTotals(2, 4.0, 1, own.reports[0].metrics, 9, 4)
    assert epoch_totals(LOSS, trial(0, 1)) == EpochTotals(1, 1.0, None), "an older record has no loss"
    assert epoch_totals(LOSS, trial(0, 0)) == EpochTotals(0, 0, None)


@pytest.mark.parametrize(
    "changes",
    [{}, {"lr": 1}, {"lr": 0.5, "patience": 3}, {"data": {"root": "x", "image_size": 64}}, {"objective": LOSS}],
    ids=str,
)
def test_a_condensed_trial_is_the_trial_without_its_epochs(changes: dict[str, Any]) -> None:
    own = TrialResult(
        trial_id="0007",
        config=config(**changes),
        parameters={"lr": 0.5, "list": [1, None]},
        status=Status.FAILED,
        reports=(report(1), report(2)),
        failure=Failure(message="why", traceback="where"),
    )
    condenser = Condenser(Objective(), config())
    row = condenser.row(own)
    assert row is not None
    found = condenser.trial(row)
    assert found.config == own.config
    assert found.config.model_dump_json() == own.config.model_dump_json()
    assert (found.trial_id, found.status, found.parameters) == (own.trial_id, own.status, own.parameters)
    assert found.failure is not None
    assert found.failure.message == "why"
    assert found.totals == epoch_totals(Objective(), own)
    assert found.reports == ()
    assert isinstance(found.without_driver(), CondensedTrial)

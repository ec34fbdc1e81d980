import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from orchestrator.search.rungs import Rungs
from orchestrator.spec.sections import Asha
from orchestrator.tuner.scheduler import PlanAwareAsha
from orchestrator.worker.assignment import Answer
from trainables.model.freeze_plan import freeze_plan
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]

TUNE_S = SimpleNamespace(trial_id="t")


def tune_result(trial: TrialResult) -> dict[str, Any]:
    return Answer(trial=trial).to_tune()


@pytest.mark.parametrize("metric", ["val/macro_f1", "val/loss"])
def test_over_a_whole_sweep_no_frozen_value_ever_stands_in_a_rung(trial: Trial, metric: str) -> None:
    """Head, progressive and full trials side by side, in an order that chance makes, until stopped or complete."""
    chance = random.Random(7)
    plans = [
        {"strategy": "head"},
        *({"strategy": "progressive", "unfreeze_epoch": epoch} for epoch in (1, 4, 11, 25)),
        {"strategy": "full"},
    ]
    asha = Asha(resource="epochs", grace=1, reduction=3)
    scheduler = PlanAwareAsha(Rungs(asha, 27))
    rungs = scheduler.rungs
    going = {
        f"{number:04d}": trial(
            f"{number:04d}",
            [chance.random() for _ in range(27)],
            **chance.choice(plans),
            objective={"metric": metric},
        )
        for number in range(60)
    }
    done: dict[str, TrialResult] = {}
    epochs = dict.fromkeys(going, 0)
    while going:
        key = chance.choice(sorted(going))
        epochs[key] += 1
        seen = going[key].model_copy(update={"reports": going[key].reports[: epochs[key]]})
        stopped = False
        if epochs[key] == 27:  # Tune tells a scheduler of the last epoch only that the trial is complete
            scheduler.on_trial_complete(None, TUNE_S, tune_result(seen))  # type: ignore[arg-type]
        else:
            verdict = scheduler.on_trial_result(None, None, tune_result(seen))  # type: ignore[arg-type]
            stopped = verdict == TrialScheduler.STOP
        if stopped or epochs[key] == 27:
            done[key] = seen
            del going[key]

    sign = 1 if metric == "val/macro_f1" else -1
    for epoch, values in rungs.values.items():
        reached = {key: t for key, t in done.items() if len(t.reports) >= epoch}
        first = {key: freeze_plan(t.config).last_boundary + asha.grace for key, t in reached.items()}
        best = max if sign == 1 else min
        assert values == {
            key: sign * best(r.metrics[metric] for r in t.reports[first[key] - 1 : epoch])
            for key, t in reached.items()
            if epoch >= first[key]
        }
    lengths = {len(t.reports) for t in done.values()}
    assert lengths == {1, 3, 9, 27}
    # Boundary 11 leaves no rung below 27, boundary 4 leaves the last.
    assert {len(t.reports) for t in done.values() if freeze_plan(t.config).last_boundary >= 11} == {27}
    assert {len(t.reports) for t in done.values() if freeze_plan(t.config).last_boundary == 4} <= {9, 27}


def test_a_trial_that_ends_at_a_rung_by_itself_is_entered_there(trial: Trial) -> None:
    """Otherwise a resumed sweep, which reads it from the ledger, would judge by other values than this one."""
    scheduler = PlanAwareAsha(Rungs(Asha(resource="epochs", grace=1, reduction=3), 9))
    result = trial("0000", [0.1, 0.2, 0.3], Status.COMPLETED)
    for epoch in (1, 2):
        state = result.model_copy(update={"reports": result.reports[:epoch], "status": Status.RUNNING})
        scheduler.on_trial_result(None, None, tune_result(state))  # type: ignore[arg-type]
    scheduler.on_trial_complete(None, TUNE_S, tune_result(result))  # type: ignore[arg-type]
    assert scheduler.rungs.values == {1: {"0000": 0.1}, 3: {"0000": 0.3}}


def test_a_trial_that_a_budget_ends_at_a_rung_is_judged(trial: Trial) -> None:
    scheduler = PlanAwareAsha(Rungs(Asha(resource="epochs", grace=1, reduction=3), 9))
    for number, score in enumerate([0.9, 0.8, 0.1, 0.95]):  # once a budget is used up, Tune asks no scheduler
        state = trial(f"{number:04d}", [score], Status.RUNNING)
        scheduler.on_trial_complete(None, SimpleNamespace(trial_id=f"t{number}"), tune_result(state))  # type: ignore[arg-type]
    assert scheduler.pruned_at_end == {"t1", "t2"}


def test_a_worker_s_empty_answer_decides_nothing() -> None:
    scheduler = PlanAwareAsha(Rungs(Asha(), 9))
    assert scheduler.on_trial_result(None, None, {}) == TrialScheduler.CONTINUE  # type: ignore[arg-type]
    scheduler.on_trial_complete(None, None, {})  # type: ignore[arg-type]

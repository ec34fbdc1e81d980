import random
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.search.rungs import Rungs, make_rungs, unstoppable_warning
from orchestrator.spec.loading import load
from orchestrator.spec.sections import Asha
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.presets import preset_names, preset_text
from trainables.config import TrialConfig
from trainables.model.freeze_plan import freeze_plan
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


def warning_of(spec: SweepSpec) -> str | None:
    configs = spec.corner_configs()
    return unstoppable_warning(make_rungs(spec.stopping, configs), configs)


def feed(rungs: Rungs, trial: TrialResult) -> int:
    """Show a trial epoch by epoch, as a sweep does; the epoch after which it is stopped, or its last."""
    for epoch in range(1, len(trial.reports) + 1):
        if not rungs.continues(trial.model_copy(update={"reports": trial.reports[:epoch]})):
            return epoch
    return len(trial.reports)


@pytest.mark.parametrize(
    ("asha", "epochs", "rungs"),
    [
        (Asha(resource="epochs", grace=1, reduction=3), 27, [1, 3, 9]),
        (Asha(resource="epochs", grace=2, reduction=3), 6, [2]),
        (Asha(resource="epochs", grace=2, reduction=2), 9, [2, 4, 8]),
        (Asha(resource="epochs", grace=6, reduction=3), 6, []),
    ],
)
def test_rungs_are_the_grace_times_powers_of_the_reduction(asha: Asha, epochs: int, rungs: list[int]) -> None:
    assert list(Rungs(asha, epochs).values) == rungs


def test_a_rung_holds_the_best_so_far_of_whoever_reached_it(trial: Trial) -> None:
    rungs = Rungs(Asha(resource="epochs", grace=1, reduction=3), 27)
    assert feed(rungs, trial("0000", [0.5, 0.4, 0.3])) == 3
    assert feed(rungs, trial("0001", [0.4, 0.9, 0.9])) == 1
    assert feed(rungs, trial("0002", [0.6, 0.7, 0.6])) == 3
    assert rungs.values == {1: {"0000": 0.5, "0001": 0.4, "0002": 0.6}, 3: {"0000": 0.5, "0002": 0.7}, 9: {}}


def test_one_in_reduction_goes_on(trial: Trial) -> None:
    rungs = Rungs(Asha(resource="epochs", grace=1, reduction=3), 27)
    scores = [number / 100 for number in range(100)]
    random.Random(0).shuffle(scores)
    for number, score in enumerate(scores):
        feed(rungs, trial(f"{number:04d}", [score]))
    late = [score / 1000 for score in range(0, 1000, 7)]
    kept = [score for score in late if Rungs.continues(_copy(rungs), trial("late", [score]))]
    assert all(score in kept for score in late if score > 0.67)
    assert len(kept) / len(late) == pytest.approx(1 / 3, abs=0.02)


def _copy(rungs: Rungs) -> Rungs:
    copy = Rungs(rungs.asha, 27)
    copy.values = {epoch: dict(values) for epoch, values in rungs.values.items()}
    return copy


def test_equal_trials_go_on(trial: Trial) -> None:
    rungs = Rungs(Asha(resource="epochs", grace=1, reduction=3), 27)
    assert [feed(rungs, trial(f"{number:04d}", [0.5] * 9)) for number in range(5)] == [9] * 5


def test_a_trial_is_never_judged_before_it_has_thawed_and_had_its_grace(trial: Trial) -> None:
    rungs = Rungs(Asha(resource="epochs", grace=2, reduction=2), 20)  # 2, 4, 8, 16
    feed(rungs, trial("0000", [0.9] * 20, strategy="head"))
    thawing: dict[str, Any] = {"strategy": "progressive", "unfreeze_epoch": 5}
    # Epochs 2 and 4 are frozen: no verdict. At 8 it is thawed for 3 epochs: judged, and stopped.
    assert feed(rungs, trial("0001", [0.1] * 20, **thawing)) == 8
    assert ["0001" in rungs.values[epoch] for epoch in (2, 4, 8, 16)] == [False, False, True, False]


def test_the_grace_counts_from_the_last_boundary_of_a_gradual_thaw(trial: Trial) -> None:
    rungs = Rungs(Asha(resource="epochs", grace=2, reduction=2), 20)
    feed(rungs, trial("0000", [0.9] * 20))
    gradual: dict[str, Any] = {"strategy": "gradual", "last_stage_epoch": 3, "full_after": 4}
    assert feed(rungs, trial("0001", [0.1] * 20, **gradual)) == 16  # 3 + 4 + 2 = 9, beyond the rung at 8


def test_the_grace_s_own_epoch_is_judged(trial: Trial) -> None:
    rungs = Rungs(Asha(resource="epochs", grace=2, reduction=2), 20)
    feed(rungs, trial("0000", [0.9] * 20))
    assert feed(rungs, trial("0001", [0.1] * 20, strategy="progressive", unfreeze_epoch=2)) == 4


def test_a_loss_is_better_when_lower(trial: Trial) -> None:
    loss = {"objective": {"metric": "val/loss"}}
    rungs = Rungs(Asha(resource="epochs", grace=1, reduction=3), 9)
    assert feed(rungs, trial("0000", [0.5] * 9, **loss)) == 9
    assert feed(rungs, trial("0001", [0.7] * 9, **loss)) == 1
    assert feed(rungs, trial("0002", [0.3] * 9, **loss)) == 9
    assert rungs.values[1] == {"0000": -0.5, "0001": -0.7, "0002": -0.3}


def test_known_results_restore_the_rungs_and_are_not_judged_again(trial: Trial) -> None:
    asha = Asha(resource="epochs", grace=1, reduction=3)
    known = [
        trial("0000", [0.2, 0.3, 0.4, 0.5], Status.INTERRUPTED),
        trial("0001", [0.5] * 27, Status.COMPLETED),
        trial("0002", [0.9, 0.9, 0.9], Status.PRUNED),
    ]
    rungs = Rungs(asha, 27)
    for result in known:
        rungs.continues(result)
    before = {epoch: dict(values) for epoch, values in rungs.values.items()}
    assert before == {
        1: {"0000": 0.2, "0001": 0.5, "0002": 0.9},
        3: {"0000": 0.4, "0001": 0.5, "0002": 0.9},
        9: {"0001": 0.5},
    }
    # The first is far behind at rungs 1 and 3 by now, but it passed them: it goes on to 9.
    longer = trial("0000", [0.2, 0.3, 0.4, 0.5] + [0.4] * 23)
    grown = (longer.model_copy(update={"reports": longer.reports[:epoch]}) for epoch in range(4, 9))
    assert all(rungs.continues(state) for state in grown)
    assert rungs.values == before


def test_restored_rungs_equal_those_of_the_sweep_itself(trial: Trial) -> None:
    chance = random.Random(3)
    live, done = Rungs(Asha(resource="epochs", grace=1, reduction=2), 16), []
    for number in range(30):
        result = trial(f"{number:04d}", [chance.random() for _ in range(chance.choice([4, 16]))])
        done.append(result.model_copy(update={"reports": result.reports[: feed(live, result)]}))
    restored = Rungs(Asha(resource="epochs", grace=1, reduction=2), 16)
    for result in done:
        restored.continues(result)
    assert restored.values == live.values


def test_several_epochs_at_once_are_each_entered(trial: Trial) -> None:
    one, many = (
        Rungs(Asha(resource="epochs", grace=1, reduction=2), 16),
        Rungs(Asha(resource="epochs", grace=1, reduction=2), 16),
    )
    for number, score in enumerate([0.5, 0.6, 0.7]):
        result = trial(f"{number:04d}", [score] * 16)
        feed(one, result)
        many.continues(result)
    assert _ascending(one.values) and many.values == one.values


def _ascending(epochs: Iterable[int]) -> bool:
    return all(earlier < later for earlier, later in pairwise(epochs))


# ---- what is never judged -------------------------------------------------------------------------------------------


def test_the_first_judged_rung_is_past_the_last_thaw_and_its_grace(trial: Trial) -> None:
    rungs = Rungs(Asha(resource="epochs", grace=2, reduction=3), 20)
    assert list(rungs.values) == [2, 6, 18]

    def first(**settings: Any) -> int | None:
        return rungs.first_judged_epoch(trial("0000", **{"epochs": 20, **settings}).config)

    assert first(strategy="full") == 2
    assert first(strategy="progressive", unfreeze_epoch=4) == 6
    assert first(strategy="progressive", unfreeze_epoch=5) == 18
    assert first(strategy="gradual", last_stage_epoch=10, full_after=7) is None
    # A rung at which the trial is over anyway saves nothing.
    assert first(strategy="progressive", unfreeze_epoch=3, epochs=6) is None


def test_a_sweep_some_of_whose_trials_are_never_stopped_says_which(small_spec: Callable[..., SweepSpec]) -> None:
    said = warning_of(small_spec(stopping={"asha": {"grace": 2, "reduction": 2, "resource": "epochs"}}))
    assert said is not None
    assert said.startswith(
        "trials that thaw for the last time at epoch 3 or later (progressive) are never stopped early"
    )
    assert "with 2 of grace they are past epoch 4, the last rung before their end at 6" in said
    assert warning_of(small_spec(stopping={"asha": {"grace": 1, "reduction": 2}})) is None
    assert warning_of(small_spec(stopping="none")) is None


def test_a_sweep_without_any_rung_says_so(small_spec: Callable[..., SweepSpec]) -> None:
    said = warning_of(small_spec(stopping={"asha": {"grace": 6, "reduction": 2}}))
    assert said is not None
    assert said.startswith("no trial of this sweep can be stopped early")
    assert "stopping.asha.grace" in said


# Rungs in units of compute. `flops` is what epochs cost; the tests name it, so that nothing has to be counted.


def by_stages(config: TrialConfig) -> list[float]:
    """A frozen epoch costs next to nothing, one with the last stage 2, a full one 10."""
    plan = freeze_plan(config)
    return [{0: 0.001, 1: 2.0, "all": 10.0}[plan.stages_at(epoch)] for epoch in range(config.epochs)]


def in_compute(grace: int = 1, reduction: int = 3, epochs: int = 9) -> Rungs:
    return Rungs(Asha(grace=grace, reduction=reduction, resource="compute"), epochs, by_stages)


@pytest.mark.parametrize(
    ("plan", "judged"),
    [
        # Equal epochs: as if epochs were counted, whatever they cost.
        ({"strategy": "head"}, {1: 1, 3: 3}),
        ({"strategy": "full"}, {1: 1, 3: 3}),
        # Nine epochs' worth are spent on seven, 1.29 each: after one thawed epoch the first rung is passed.
        ({"strategy": "progressive", "unfreeze_epoch": 2}, {3: 1, 5: 3}),
        # On four: 2.25, 4.5, 6.75, 9. In epochs this trial is judged nowhere.
        ({"strategy": "progressive", "unfreeze_epoch": 5}, {6: 1, 7: 3}),
        # On two: the first of them passes both rungs, and counts at the higher.
        ({"strategy": "progressive", "unfreeze_epoch": 7}, {8: 3}),
        # On one, its last: what it has then is no early score.
        ({"strategy": "progressive", "unfreeze_epoch": 8}, {}),
        # 2 a partly thawed epoch, 8 in all of them; 40 for the rest; the first rung (5.33) is passed while half frozen.
        ({"strategy": "gradual", "last_stage_epoch": 1, "full_after": 4}, {6: 3}),
    ],
)
def test_a_trial_is_judged_at_shares_of_its_own_compute(
    trial: Trial, plan: dict[str, Any], judged: dict[int, int]
) -> None:
    rungs, config = in_compute(), trial("0000", epochs=9, **plan).config
    assert dict(rungs.judging(config)) == judged
    assert rungs.first_judged_epoch(config) == min(judged, default=None)


def test_the_grace_counts_epochs_after_the_thaw_in_compute_too(trial: Trial) -> None:
    config = trial("0000", epochs=9, strategy="progressive", unfreeze_epoch=5).config
    assert dict(in_compute(grace=2, reduction=2).judging(config)) == {7: 4}
    assert dict(Rungs(Asha(resource="epochs", grace=2, reduction=2), 9).judging(config)) == {8: 8}


def test_the_scale_of_the_compute_is_each_trial_s_own(trial: Trial) -> None:
    config = trial("0000", epochs=9, strategy="gradual", last_stage_epoch=1, full_after=2).config
    asha = Asha(resource="compute")
    small, large = (Rungs(asha, 9, lambda c, k=k: [k * f for f in by_stages(c)]) for k in (1.0, 1e9))
    assert list(small.judging(config)) == list(large.judging(config)) != []


def test_rungs_of_compute_hold_no_value_from_before_the_thaw(trial: Trial) -> None:
    rungs = in_compute()
    feed(rungs, trial("0000", [0.1] * 9, epochs=9, strategy="full"))
    late = trial("0001", [0.9] * 5 + [0.2, 0.3, 0.1, 0.1], epochs=9, strategy="progressive", unfreeze_epoch=5)
    assert feed(rungs, late) == 9
    assert rungs.values == {1: {"0000": 0.1, "0001": 0.2}, 3: {"0000": 0.1, "0001": 0.3}}


PLANS: list[dict[str, Any]] = [
    {"strategy": "head"},
    {"strategy": "full"},
    *({"strategy": "progressive", "unfreeze_epoch": epoch} for epoch in range(1, 9)),
    *({"strategy": "gradual", "last_stage_epoch": a, "full_after": b} for a in (1, 3) for b in (1, 4)),
]


def drive(rungs: Rungs, ledger: dict[str, TrialResult], whole: dict[str, TrialResult], order: list[str]) -> None:
    """One epoch of each trial of `order`, of those that still run, as the driver does it."""
    for key in order:
        known = ledger[key]
        if known.status is not Status.RUNNING:
            continue
        known = known.model_copy(update={"reports": whole[key].reports[: len(known.reports) + 1]})
        continues = rungs.continues(known)
        ended = len(known.reports) == len(whole[key].reports)
        status = Status.COMPLETED if ended else Status.RUNNING if continues else Status.PRUNED
        ledger[key] = known.model_copy(update={"status": status})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    chance=st.randoms(use_true_random=False),
    asha=st.builds(
        Asha, grace=st.integers(1, 3), reduction=st.integers(2, 3), resource=st.sampled_from(["epochs", "compute"])
    ),
)
def test_a_sweep_that_is_killed_and_resumed_stops_the_same_trials_at_the_same_rungs(
    trial: Trial, chance: random.Random, asha: Asha
) -> None:
    whole = {
        f"{number:04d}": trial(f"{number:04d}", [chance.random() for _ in range(9)], epochs=9, **chance.choice(PLANS))
        for number in range(12)
    }
    order = [chance.choice(list(whole)) for _ in range(12 * 12)]
    kills = sorted(chance.sample(range(len(order)), 3))

    def begun() -> dict[str, TrialResult]:
        return {key: each.model_copy(update={"reports": ()}) for key, each in whole.items()}

    undisturbed, expected = Rungs(asha, 9, by_stages), begun()
    drive(undisturbed, expected, whole, order)

    ledger = begun()
    for start, end in pairwise([0, *kills, len(order)]):
        rungs = Rungs(asha, 9, by_stages)
        for each in ledger.values():
            rungs.continues(each)
        drive(rungs, ledger, whole, order[start:end])

    assert rungs.values == undisturbed.values
    assert ledger == expected
    for rung in rungs.values.values():
        for key, value in rung.items():
            first = freeze_plan(whole[key].config).last_boundary + asha.grace
            assert value in [report.metrics["val/macro_f1"] for report in ledger[key].reports[first - 1 :]]


def test_a_plan_that_leaves_no_rung_is_warned_about(small_spec: Callable[..., SweepSpec]) -> None:
    """Rungs at 1 and 3 of 6 epochs; the space thaws from epoch 1 to 3."""
    assert warning_of(small_spec(stopping={"asha": {"grace": 1, "reduction": 3, "resource": "epochs"}})) == (
        "trials that thaw for the last time at epoch 3 or later (progressive) are never stopped early: with 1 of grace "
        "they are past epoch 3, the last rung before their end at 6; set a smaller stopping.asha.grace or reduction, "
        "thaw earlier, train longer, count stopping.asha.resource: compute, or set stopping: none"
    )


def test_in_compute_the_same_plan_can_be_stopped(small_spec: Callable[..., SweepSpec]) -> None:
    """With what its epochs really cost: a head of resnet18, then everything."""
    asha = {"grace": 1, "reduction": 3, "resource": "compute"}
    assert warning_of(small_spec(stopping={"asha": asha})) is None
    # Thawed in epoch 3, with a grace of 3: that is the last epoch.
    warning = warning_of(small_spec(stopping={"asha": {**asha, "grace": 3}}))
    assert warning is not None and warning.startswith(
        "trials that thaw for the last time at epoch 3 or later (progressive) are never stopped early: with 3 of grace "
        "they pass no rung before their end at 6; set a smaller"
    )


def test_a_grace_beyond_the_end_is_said_of_all_trials(small_spec: Callable[..., SweepSpec]) -> None:
    warning = warning_of(small_spec(stopping={"asha": {"grace": 6}}))
    assert warning is not None and warning.startswith("no trial of this sweep can be stopped early: of 6 epochs none ")
    assert warning_of(small_spec(stopping="none")) is None


@pytest.mark.parametrize("name", preset_names())
def test_every_trial_of_a_preset_can_be_stopped(name: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(preset_text(name))
    assert warning_of(load(tmp_path / "sweep.yaml")) is None

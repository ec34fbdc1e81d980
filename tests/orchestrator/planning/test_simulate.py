from collections.abc import Callable, Sequence
from typing import Any

import pytest

from orchestrator.planning.cost_model import CostModel, PhaseKind
from orchestrator.planning.simulate import exempt_shares, forecast_sweeps, sample_sweeps, simulate_sweep
from orchestrator.search.random_points import price_function, random_point
from orchestrator.search.rungs import Rungs, make_rungs
from orchestrator.spec.sections import Asha
from orchestrator.spec.sweep_spec import SweepSpec
from trainables.config import TrialConfig
from trainables.estimate.linear_probe import probe_config
from trainables.estimate.phase_cost import PhaseCost

Config = Callable[..., TrialConfig]
Costed = Callable[..., CostModel]


@pytest.fixture
def config(trial: Callable[..., Any]) -> Config:
    return lambda **settings: trial("0000", **{"epochs": 4, **settings}).config


@pytest.fixture
def costed(config: Config) -> Costed:
    """Costs for 100 training images: a frozen epoch takes a second, a thawed one ten, features five."""

    def make(start: float = 0.0, prepare: float = 0.0) -> CostModel:
        known: dict[str, Any] = {"parameters": 9, "trainable": 9, "validation": 0.0, "checkpoint": 0.0}
        known |= {"memory": 9, "baseline": 1, "start": start, "prepare": prepare, "config": config()}
        return CostModel(
            {"train": 100, "val": 0},
            1,
            {
                PhaseKind("resnet18", 0, True): PhaseCost(stages=0, features=0.05, image=0.01, **known),
                PhaseKind("resnet18", 1, True): PhaseCost(stages=1, features=0.05, image=0.02, **known),
                PhaseKind("resnet18", "all", False): PhaseCost(stages="all", features=None, image=0.1, **known),
            },
            {},
        )

    return make


def full(config: Config, count: int, **settings: Any) -> list[TrialConfig]:
    return [config(strategy="full", **settings)] * count


def test_a_sweep_without_stopping_is_its_trials_one_after_another(config: Config, costed: Costed) -> None:
    played = simulate_sweep(full(config, 6), costed(), at_once=2)
    assert (played.seconds, played.busy, played.epochs) == pytest.approx((3 * 40, 6 * 40, 24))
    assert simulate_sweep(full(config, 6), costed(start=1.0, prepare=2.0), 2).seconds == pytest.approx(3 * 41 + 2)


def test_features_that_the_probes_leave_are_not_computed_again(config: Config, costed: Costed) -> None:
    head, costs = config(strategy="head"), costed()
    probed = {phase.features_key for phase in costs.phases(probe_config(head)) or ()}
    assert len(probed) == 1
    assert simulate_sweep([head], costs, 1).seconds == pytest.approx(4 + 5)
    assert simulate_sweep([head], costs, 1, stored=probed).seconds == pytest.approx(4)


def test_more_epochs_and_more_trials_take_longer_and_more_at_once_less(config: Config, costed: Costed) -> None:
    costs = costed(start=0.5, prepare=1.0)
    by_epochs = [simulate_sweep(full(config, 6, epochs=epochs), costs, 2).seconds for epochs in range(1, 8)]
    by_trials = [simulate_sweep(full(config, trials), costs, 2).busy for trials in range(1, 8)]
    by_workers = [simulate_sweep(full(config, 7), costs, workers).seconds for workers in range(1, 8)]
    assert by_epochs == sorted(set(by_epochs))
    assert by_trials == sorted(set(by_trials))
    assert by_workers == sorted(by_workers, reverse=True)
    assert by_workers[0] > by_workers[-1]


def test_features_are_computed_once_and_awaited_by_others(config: Config, costed: Costed) -> None:
    """Five seconds of features, then four epochs of one: for whoever computes them, and for whoever waits."""
    assert simulate_sweep([config()] * 2, costed(), at_once=1).seconds == pytest.approx(5 + 4 + 4)
    assert simulate_sweep([config()] * 2, costed(), at_once=2).seconds == pytest.approx(5 + 4)
    both = [config(), config(augmentation="light", feature_views=2)]
    # Other views have other features: twice 100 images of 0.05 s.
    assert simulate_sweep(both, costed(), at_once=1).seconds == pytest.approx(5 + 4 + 10 + 4)


def test_each_machine_computes_features_of_its_own(config: Config, costed: Costed) -> None:
    head, costs = config(strategy="head"), costed()
    probed = [phase.features_key for phase in costs.phases(probe_config(head)) or ()]
    assert simulate_sweep([head] * 4, costs, 4, machines=2).seconds == pytest.approx(5 + 4)
    assert simulate_sweep([head] * 3, costs, 2, machines=2).seconds == pytest.approx(5 + 4 + 4)
    # The first machine has what the probe has left; the second takes one trial, the first the other two.
    assert simulate_sweep([head] * 3, costs, 2, stored=probed, machines=2).seconds == pytest.approx(5 + 4)


def test_stopping_saves_and_every_trial_is_accounted_for(config: Config, costed: Costed) -> None:
    configs = full(config, 60, epochs=9) + [config(strategy="progressive", unfreeze_epoch=2, epochs=9)] * 20
    rungs = Rungs(Asha(resource="epochs", grace=1, reduction=3), 9)
    stopped, complete = simulate_sweep(configs, costed(), 4, rungs), simulate_sweep(configs, costed(), 4)
    assert stopped.seconds < complete.seconds
    assert stopped.epochs < complete.epochs == 80 * 9
    first, second = stopped.rungs[1], stopped.rungs[3]
    assert (first.reached, first.unjudged) == (80, 20)
    assert second.reached == first.reached - first.stopped
    assert second.unjudged == 0
    # Of those that are judged about one in three goes on.
    assert first.stopped == pytest.approx(60 * 2 / 3, rel=0.25)
    assert stopped.epochs == 80 + (80 - first.stopped) * 2 + (80 - first.stopped - second.stopped) * 6


def test_the_exempt_share_of_a_plan_worked_out_by_hand(config: Config, costed: Costed) -> None:
    """Rungs at 2 and 6 of 12 epochs, grace 2.

    A full trial is judged at 2: 2 of 12 epochs, 20 of 120 s. One that thaws at 3 is judged at 6, the first rung from
    3 + 2 on: 6 of 12 epochs, 3 x 1 s + 3 x 10 s of 3 + 90 s. One that thaws at 5 is never judged: 5 + 2 is past 6.
    """
    rungs = Rungs(Asha(resource="epochs", grace=2, reduction=3), 12)
    early, late = (config(strategy="progressive", unfreeze_epoch=epoch, epochs=12) for epoch in (3, 5))
    assert exempt_shares(full(config, 1, epochs=12), costed(), rungs) == pytest.approx((2 / 12, 20 / 120))
    assert exempt_shares([early], costed(), rungs) == pytest.approx((6 / 12, 33 / 93))
    assert exempt_shares([late], costed(), rungs) == pytest.approx((1, 1))
    every = [*full(config, 1, epochs=12), early, late]
    assert exempt_shares(every, costed(), rungs) == pytest.approx((20 / 36, (20 + 33 + 75) / (120 + 93 + 75)))


def test_no_trial_is_stopped_before_its_exemption_ends(config: Config, costed: Costed) -> None:
    configs = [config(strategy="progressive", unfreeze_epoch=3, epochs=12)] * 50
    played = simulate_sweep(configs, costed(), 4, Rungs(Asha(resource="epochs", grace=2, reduction=3), 12))
    assert (played.rungs[2].unjudged, played.rungs[2].stopped) == (50, 0)
    assert played.rungs[6].stopped > 20


def test_what_could_not_be_measured_is_passed_over(config: Config, costed: Costed) -> None:
    unknown = config(architecture="resnet50", strategy="full")
    assert simulate_sweep([unknown, *full(config, 1)], costed(), 1).seconds == pytest.approx(40)
    assert simulate_sweep([unknown], costed(), 1).epochs == 0
    assert exempt_shares([unknown], costed(), Rungs(Asha(), 4)) == (0, 0)


def rungs_of(spec: SweepSpec) -> Rungs | None:
    return make_rungs(spec.stopping, spec.corner_configs())


def sampled(spec: SweepSpec, costs: CostModel) -> list[list[TrialConfig]]:
    return sample_sweeps(spec.problem, spec.first_points(), costs, rungs_of(spec))


def test_drawn_sweeps_have_the_first_points_in_each(small_spec: Callable[..., SweepSpec], costed: Costed) -> None:
    points = [{"strategy": "head", "lr": 1e-3}, {"strategy": "progressive", "unfreeze_epoch": 2, "lr": 2e-3}]
    sweeps = sampled(small_spec(search={"trials": 10, "points": points}), costed())
    assert {len(sweep) for sweep in sweeps} == {10}
    assert len(sweeps) > 10
    assert {(sweep[0].lr, sweep[1].lr) for sweep in sweeps} == {(1e-3, 2e-3)}
    assert len({sweep[2].lr for sweep in sweeps}) == len(sweeps)
    assert sweeps == sampled(small_spec(search={"trials": 10, "points": points}), costed())


def test_drawn_sweeps_draw_what_the_search_draws(small_spec: Callable[..., SweepSpec], costed: Costed) -> None:
    spec = small_spec(search={"trials": 12, "sampler": "tpe", "seed": 3}, stopping={"asha": {}})
    price = price_function(rungs_of(spec))
    points = {number: random_point(spec.problem, number, price) for number in range(len(spec.first_points()), 12)}
    expected = {number: spec.trial_config(point) for number, point in points.items() if point is not None}
    assert len(expected) > 4
    sweeps = sampled(spec, costed())
    assert {number: sweeps[0][number] for number in expected} == expected
    assert sweeps[0] != sweeps[1]


def test_the_forecast_is_a_mean_with_its_spread(
    small_spec: Callable[..., SweepSpec], costed: Costed, config: Config
) -> None:
    spec = small_spec(search={"trials": 8}, stopping={"asha": {"grace": 1, "reduction": 3}})
    sweeps: Sequence[Sequence[TrialConfig]] = sampled(spec, costed())
    complete, stopped = forecast_sweeps(sweeps, costed(), 2, None), forecast_sweeps(sweeps, costed(), 2, rungs_of(spec))
    for forecast in (complete, stopped):
        assert forecast.low <= forecast.seconds <= forecast.high
        assert forecast.busy <= 2 * forecast.seconds
    assert complete.epochs == 8 * 6
    assert complete.rungs == {}
    assert stopped.epochs < complete.epochs
    rungs = rungs_of(spec)
    assert rungs is not None and list(stopped.rungs) == list(rungs.values)
    assert stopped.rungs[1].reached == 8

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.search.optuna_space import suggest
from orchestrator.search.proposals import Proposals
from orchestrator.search.samplers import make_sampler
from orchestrator.search.starting_points import starting_points
from orchestrator.search.study import build_study
from orchestrator.spec.sweep_spec import SweepSpec
from trainables.config import TrialConfig
from trainables.result import TrialResult
from trainables.status import Status

SmallSpec = Callable[..., SweepSpec]
POINTS = [{"strategy": "head", "lr": 0.003}, {"strategy": "progressive", "unfreeze_epoch": 2, "lr": 0.001}]


@pytest.fixture
def spec(small_spec: SmallSpec) -> Callable[[str], SweepSpec]:
    return lambda sampler: small_spec(search={"trials": 12, "sampler": sampler, "points": POINTS, "seed": 3})


def proposals(spec: SweepSpec, folder: Path, known: list[TrialResult] | None = None) -> Proposals:
    study = build_study("sweep", spec.problem, known or [], folder / "study.log")
    first = starting_points(spec.problem, spec.given_points(), ())
    return Proposals(spec.problem, study, known or [], first, lambda config: 1.0)


def rest(made: Proposals) -> list[TrialConfig]:
    """All trials that are still to come."""
    found = []
    while (proposal := made.next()) is not None:
        found.append(proposal.trial.config)
    return found


@pytest.mark.parametrize(("sampler", "count"), [("tpe", 7), ("random", 12), ("gp", 2), ("qmc", 2), ("nsga2", 2)])
def test_what_needs_no_result_is_known_ahead(
    sampler: str, count: int, spec: Callable[[str], SweepSpec], tmp_path: Path
) -> None:
    """Two given points; every other trial of TPE; all random ones."""
    sweep = spec(sampler)
    made = proposals(sweep, tmp_path)
    ahead = made.ahead(99)
    assert len(ahead) == count
    assert ahead[:2] == [sweep.trial_config(point) for point in POINTS]
    places = {"tpe": [0, 1, 3, 5, 7, 9, 11], "random": range(12)}.get(sampler, [0, 1])
    coming = rest(made)
    assert [coming[place] for place in places] == ahead
    assert len(coming) == 12
    assert made.ahead(1) == []


@given(steps=st.lists(st.integers(0, 8), max_size=6))
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_does_not_matter_when_and_how_often_it_is_asked_ahead(
    steps: list[int], spec: Callable[[str], SweepSpec], tmp_path: Path
) -> None:
    made, promised, handed = proposals(spec("tpe"), tmp_path), list[TrialConfig](), list[TrialConfig]()
    for count in steps:
        ahead = made.ahead(count)
        kept = [config for config in promised if config not in handed]
        assert ahead[: len(kept)] == kept[: len(ahead)], "what was returned once is returned again"
        promised += [config for config in ahead if config not in promised]
        proposal = made.next()
        handed += [] if proposal is None else [proposal.trial.config]
    coming = [*handed, *rest(made)]
    assert [config for config in coming if config in promised] == promised
    assert len(coming) == 12


def test_unfinished_trials_come_first_and_are_not_ahead(spec: Callable[[str], SweepSpec], tmp_path: Path) -> None:
    sweep = spec("tpe")
    config = sweep.trial_config(POINTS[0])
    known = TrialResult(trial_id="0000", config=config, parameters=POINTS[0], status=Status.INTERRUPTED)
    made = proposals(sweep, tmp_path, [known])
    assert made.ahead(1) == [sweep.trial_config(POINTS[1])]
    proposal = made.next()
    assert proposal is not None
    assert proposal.trial == known
    assert rest(made)[0] == sweep.trial_config(POINTS[1])


def test_what_is_known_ahead_is_near_to_nothing_else(spec: Callable[[str], SweepSpec], tmp_path: Path) -> None:
    """Draws avoid one another, and the sampler avoids those that are still to come."""
    made = proposals(spec("tpe"), tmp_path)
    made.ahead(99)
    coming = rest(made)
    assert len({str(config) for config in coming}) == len(coming)


def test_the_random_sampler_proposes_as_optuna_does(spec: Callable[[str], SweepSpec], tmp_path: Path) -> None:
    sweep = spec("random")

    def plain(number: int) -> dict[str, Any]:
        return suggest(sweep.search_space, optuna.create_study(sampler=make_sampler(sweep.search, number)).ask())

    expected = [*POINTS, *(plain(number) for number in range(2, 12))]
    assert rest(proposals(sweep, tmp_path)) == [sweep.trial_config(point) for point in expected]

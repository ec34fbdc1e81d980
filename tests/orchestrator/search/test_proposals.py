from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

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


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "qmc", "nsga2"])
def test_the_given_points_come_first_and_each_trial_once(
    sampler: str, spec: Callable[[str], SweepSpec], tmp_path: Path
) -> None:
    sweep = spec(sampler)
    made = proposals(sweep, tmp_path)
    assert made.remaining == 12
    coming = rest(made)
    assert coming[:2] == [sweep.trial_config(point) for point in POINTS]
    assert (len(coming), made.remaining, made.next()) == (12, 0, None)


def test_unfinished_trials_come_first(spec: Callable[[str], SweepSpec], tmp_path: Path) -> None:
    sweep = spec("tpe")
    config = sweep.trial_config(POINTS[0])
    known = TrialResult(trial_id="0000", config=config, parameters=POINTS[0], status=Status.INTERRUPTED)
    made = proposals(sweep, tmp_path, [known])
    proposal = made.next()
    assert proposal is not None
    assert proposal.trial == known
    assert rest(made)[0] == sweep.trial_config(POINTS[1])


def test_a_proposal_is_near_to_no_other(spec: Callable[[str], SweepSpec], tmp_path: Path) -> None:
    coming = rest(proposals(spec("tpe"), tmp_path))
    assert len({str(config) for config in coming}) == len(coming)


def test_the_random_sampler_proposes_as_optuna_does(spec: Callable[[str], SweepSpec], tmp_path: Path) -> None:
    sweep = spec("random")

    def plain(number: int) -> dict[str, Any]:
        return suggest(sweep.search_space, optuna.create_study(sampler=make_sampler(sweep.search, number)).ask())

    expected = [*POINTS, *(plain(number) for number in range(2, 12))]
    assert rest(proposals(sweep, tmp_path)) == [sweep.trial_config(point) for point in expected]

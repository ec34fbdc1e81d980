import warnings

import optuna
import pytest

from orchestrator.exploring import EXPLORED, ExploringTpe, explores


@pytest.fixture(params=[0, 1, 2])
def study(request: pytest.FixtureRequest) -> optuna.Study:
    """40 trials of an easy function, best at its left end, proposed by the sampler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = ExploringTpe(seed=request.param, multivariate=True, group=True, constant_liar=True)
    study = optuna.create_study(sampler=sampler)
    for _ in range(40):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))
    return study


def test_one_trial_in_three_is_spread_over_the_whole_range(study: optuna.Study) -> None:
    late = study.trials[20:]
    drawn = [trial.params["x"] for trial in late if explores(trial.number)]
    modelled = [trial.params["x"] for trial in late if not explores(trial.number)]
    assert len(drawn) == pytest.approx(len(late) / EXPLORED, abs=1)
    assert max(drawn) > 0.6 and sorted(modelled)[len(modelled) // 2] < 0.2 < sorted(drawn)[len(drawn) // 2]


def test_no_trial_is_drawn_twice(study: optuna.Study) -> None:
    """TPE's first trials are random too: from the same stream they would be those of the trials that explore."""
    assert len({trial.params["x"] for trial in study.trials}) == 40

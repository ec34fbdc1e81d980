import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.search import model_history
from orchestrator.search.model_history import SAMPLE_SIZE, SAMPLED_BEST, SAMPLED_NEWEST, ModelHistory, SampledJournal
from orchestrator.search.proposals import Proposals
from orchestrator.search.study import build_study, tell
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.space import sample
from trainables.result import TrialResult
from trainables.status import Status


def judged(seed: int, count: int) -> list[FrozenTrial]:
    """Completed and stopped trials, as a storage numbers them."""
    chance, trials = random.Random(seed), []
    for number in range(count):
        state = chance.choice([TrialState.COMPLETE, TrialState.PRUNED])
        scores = {epoch: round(chance.random(), 2) for epoch in range(1, chance.randint(1, 4))}
        value = round(chance.random(), 2) if state is TrialState.COMPLETE else None
        trials.append(create_trial(state=state, value=value, intermediate_values=scores))
        trials[-1].number = number
    return trials


def history(trials: list[FrozenTrial], *, maximize: bool = True) -> ModelHistory:
    made = ModelHistory(maximize=maximize)
    for trial in random.Random(0).sample(trials, len(trials)):  # they end in another order than they begin
        made.add(trial)
    return made


@given(st.integers(0, 10**6), st.integers(0, SAMPLE_SIZE))
@settings(max_examples=10)
def test_a_short_history_is_taken_whole(seed: int, count: int) -> None:
    trials = judged(seed, count)
    assert history(trials).sample() == trials


@given(st.integers(0, 10**6), st.integers(SAMPLE_SIZE + 1, 2 * SAMPLE_SIZE), st.booleans())
@settings(max_examples=10)
def test_tpe_takes_the_same_trials_for_good_ones(seed: int, count: int, maximize: bool) -> None:
    """The sample has all that TPE may take for good, and what is newest."""
    trials = judged(seed, count)
    found = history(trials, maximize=maximize).sample()
    assert SAMPLE_SIZE - SAMPLED_BEST <= len(found) <= SAMPLE_SIZE
    assert [trial.number for trial in found] == sorted({trial.number for trial in found})
    assert trials[-SAMPLED_NEWEST:] == found[-SAMPLED_NEWEST:]
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    good, _ = _split_trials(study, trials, default_gamma(count))
    assert 20 < len(good) <= SAMPLED_BEST
    assert _split_trials(study, found, default_gamma(len(found)))[0] == good


def test_the_older_trials_of_a_sample_are_spread_evenly() -> None:
    trials = judged(0, 10 * SAMPLE_SIZE)
    numbers = [trial.number for trial in history(trials).sample() if trial.number < len(trials) - SAMPLED_NEWEST]
    share = [sum(start <= number < start + 960 for number in numbers) for start in range(0, 9600, 960)]
    assert all(50 <= count <= 50 + SAMPLED_BEST / 2 for count in share)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of 20 trials, so that a test needs few."""
    sizes = {"SAMPLE_SIZE": 20, "SAMPLED_BEST": 5, "SAMPLED_NEWEST": 5, "SAMPLED_RUNNING": 2}
    for name, value in sizes.items():
        monkeypatch.setattr(model_history, name, value)


def study_in(folder: Path) -> optuna.Study:
    storage = SampledJournal(JournalFileBackend(str(folder / "study.log")), maximize=True)
    return optuna.create_study(storage=storage, direction="maximize")


def with_value(value: float, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    known = {"lr": FloatDistribution(0, 1)}
    ended = value if state is TrialState.COMPLETE else None
    return create_trial(state=state, value=ended, params={"lr": 0.5}, distributions=known)


@pytest.mark.usefixtures("few")
def test_a_study_sees_its_open_trials_and_a_sample_of_the_others(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    first = study.ask()
    study.add_trials([with_value(0.0, TrialState.FAIL), *(with_value(number / 100) for number in range(20))])
    assert len(study.trials) == 22, "as long as there are few, all are seen"
    study.tell(first, 0.9)
    running = study.ask()
    study.enqueue_trial({"lr": 0.25})
    states = [trial.state for trial in study.trials]
    assert states[-2:] == [TrialState.RUNNING, TrialState.WAITING]
    assert set(states[:-2]) == {TrialState.COMPLETE}
    assert len(states) < 22
    assert study.best_trial.number == first.number
    assert study.trials[-2].number == running.number
    assert study.ask().suggest_float("lr", 0, 1) == 0.25, "a given point is handed out as ever"
    assert len(optuna.load_study(study_name=study.study_name, storage=stored(tmp_path)).trials) == 24


def stored(folder: Path) -> optuna.storages.JournalStorage:
    return optuna.storages.JournalStorage(JournalFileBackend(str(folder / "study.log")))


@pytest.mark.usefixtures("few")
def test_of_many_running_trials_the_newest_are_seen(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    running = [study.ask().number for _ in range(5)]
    study.add_trials([with_value(number / 100) for number in range(20)])
    assert numbers_of(study, TrialState.RUNNING) == running
    study.add_trial(with_value(0.5))
    assert numbers_of(study, TrialState.RUNNING) == running[-2:]


def numbers_of(study: optuna.Study, state: TrialState) -> list[int]:
    return [trial.number for trial in study.get_trials(deepcopy=False, states=[state])]


@pytest.mark.usefixtures("few")
def test_a_trial_of_a_study_cannot_be_changed_through_a_copy(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    study.add_trials([with_value(number / 100) for number in range(30)])
    study.trials[0].params["lr"] = 0.0
    assert study.trials[0].params["lr"] == 0.5


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random"])
def test_every_sampler_goes_on_beyond_a_short_history(
    sampler: str, small_spec: Callable[..., SweepSpec], trial: Callable[..., TrialResult], tmp_path: Path
) -> None:
    problem = small_spec(search={"trials": 40, "sampler": sampler, "seed": 1}).problem
    points = sample(problem.space, 30, seed=0)
    known = [trial(f"{n:04d}", [n / 30], Status.COMPLETED, point) for n, point in enumerate(points)]
    known = [each.model_copy(update={"config": problem.configure(each.parameters)}) for each in known]

    def proposed() -> list[dict[str, Any]]:
        study = build_study("sweep", problem, known, tmp_path / "study.log")
        proposals, found = Proposals(problem, study, known, [], lambda config: 1.0), []
        while (proposal := proposals.next()) is not None:
            found.append(proposal.trial.parameters)
            ended = trial(proposal.trial.trial_id, [0.5], Status.COMPLETED, proposal.trial.parameters)
            tell(study, proposal.asked, ended)
        return found

    first = proposed()
    assert len(first) == 10
    assert first == proposed(), "the same for the same seed"


def test_up_to_the_bound_the_proposals_are_those_of_a_study_that_sees_all(
    small_spec: Callable[..., SweepSpec], trial: Callable[..., TrialResult], tmp_path: Path
) -> None:
    problem = small_spec(search={"trials": 60, "seed": 1}).problem

    def proposed(study: optuna.Study) -> list[dict[str, Any]]:
        proposals, found = Proposals(problem, study, [], [], lambda config: 1.0), []
        while (proposal := proposals.next()) is not None:
            found.append(proposal.trial.parameters)
            status = Status.PRUNED if len(found) % 3 else Status.COMPLETED
            tell(study, proposal.asked, trial(proposal.trial.trial_id, [found[-1]["lr"]], status))
        return found

    plain = optuna.create_study(direction="maximize")
    assert proposed(build_study("sweep", problem, [], tmp_path / "study.log")) == proposed(plain)

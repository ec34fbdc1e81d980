import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.search.proposals import Proposals
from orchestrator.search.starting_points import starting_points
from orchestrator.search.study import build_study
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tuner.searcher import LedgerSearcher
from orchestrator.tuner.trial_states import TrialStates
from orchestrator.worker.assignment import Answer, Assignment, EndKind, TrialEnd
from search_spaces.errors import StorageFailed
from trainables.result import EpochReport, Failure, TrialResult
from trainables.status import Status

SmallSpec = Callable[..., SweepSpec]

POINTS = [
    {"strategy": "head", "lr": 0.003},
    {"strategy": "progressive", "unfreeze_epoch": 2, "lr": 0.001},
    {"strategy": "head", "lr": 0.003},  # twice, on purpose
]


@dataclass
class Driver:
    """Surroundings of a searcher in a sweep, with a real ledger and a real study; nothing trains."""

    spec: SweepSpec
    folder: Path
    told: list[TrialResult] = field(default_factory=list)
    given_up: list[StorageFailed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = Ledger(RunFolder(self.folder))
        self.restart()

    def restart(self) -> None:
        """As after a kill: from the ledger alone."""
        known, problem = self.ledger.trials(), self.spec.problem
        self.study: optuna.Study = build_study(self.spec.name, problem, known, self.folder / "study.log")
        first = starting_points(problem, self.spec.given_points(), ())
        self.proposals = Proposals(problem, self.study, known, first, price=lambda config: 1.0)
        self.states = TrialStates(self.ledger, self.study, self.told.append, self.given_up.append)
        self.over, self.pruned_at_end = False, set[str]()
        self.stopped = False
        is_over, is_stopped = lambda: self.over, lambda: self.stopped
        self.searcher = LedgerSearcher(
            self.proposals, self.states, self._assign, is_over, self.pruned_at_end, is_stopped
        )

    def _assign(self, trial: TrialResult) -> Assignment:
        run = self.folder
        return Assignment(trial=trial, run=run, cache=run / "cache", resources=self.spec.resources)

    def begin(self, tune_id: str) -> TrialResult:
        config = self.searcher.suggest(tune_id)
        assert isinstance(config, dict)
        return Assignment.from_tune(config).trial

    def epoch(self, tune_id: str, trial: TrialResult, score: float) -> TrialResult:
        newer = grown(trial, score)
        self.searcher.on_trial_result(tune_id, Answer(trial=newer).to_tune())
        return newer

    def complete(self, tune_id: str, trial: TrialResult, *scores: float) -> None:
        """As Tune does: every epoch is a result, the last one comes with the end."""
        for score in scores[:-1]:
            trial = self.epoch(tune_id, trial, score)
        self.searcher.on_trial_complete(tune_id, ended(grown(trial, scores[-1]), EndKind.COMPLETED))

    def study_states(self) -> list[str]:
        return [trial.state.name for trial in self.study.trials]


def grown(trial: TrialResult, score: float) -> TrialResult:
    report = EpochReport(epoch=len(trial.reports) + 1, metrics={"val/macro_f1": score}, seconds=1.0, checkpoint="best")
    return trial.model_copy(update={"reports": (*trial.reports, report)})


def ended(trial: TrialResult, kind: EndKind, message: str | None = None) -> dict[str, Any]:
    """The last result of a trial that ends by itself."""
    failure = None if message is None else Failure(message=message)
    return Answer(trial=trial, end=TrialEnd(kind=kind, failure=failure)).to_tune()


@pytest.fixture
def driver(small_spec: SmallSpec, tmp_path: Path) -> Callable[..., Driver]:
    def make(**search: Any) -> Driver:
        folder = tmp_path / "run"
        folder.mkdir()
        return Driver(small_spec(search={"trials": 4, "seed": 0, **search}), folder)

    return make


def test_ids_count_up_and_the_planned_number_is_the_end(driver: Callable[..., Driver]) -> None:
    sweep = driver()
    trials = [sweep.begin(f"tune-{number}") for number in range(4)]
    assert [trial.trial_id for trial in trials] == ["0000", "0001", "0002", "0003"]
    assert sweep.searcher.suggest("tune-4") == Searcher.FINISHED
    assert sweep.proposals.remaining == 0
    assert len({str(trial.parameters) for trial in trials}) == 4


def test_a_trial_stands_in_the_ledger_before_it_starts(driver: Callable[..., Driver]) -> None:
    sweep = driver()
    trial = sweep.begin("t")
    assert sweep.ledger.trials() == [trial] == sweep.told
    assert trial.status is Status.RUNNING
    assert trial.config == sweep.spec.trial_config(trial.parameters)
    assert sweep.study.trials[0].user_attrs == {"trial_id": "0000"}


def test_the_points_come_first_in_order_and_with_as_many_trials_exactly_they_run(driver: Callable[..., Driver]) -> None:
    sweep = driver(points=POINTS, trials=3)
    assert [sweep.begin(str(number)).parameters for number in range(3)] == POINTS
    assert sweep.searcher.suggest("3") == Searcher.FINISHED


def test_the_default_recipe_is_first_without_points(driver: Callable[..., Driver]) -> None:
    assert driver().begin("t").parameters == {"strategy": "head", "lr": 1e-3}


def test_a_completed_trial_is_told_with_its_best_epoch(driver: Callable[..., Driver]) -> None:
    sweep = driver()
    sweep.complete("t", sweep.begin("t"), 0.2, 0.7, 0.6)
    told = sweep.study.trials[0]
    assert (told.state, told.value) == (TrialState.COMPLETE, 0.7)
    assert told.intermediate_values == {1: 0.2, 2: 0.7, 3: 0.6}
    kept = sweep.ledger.read_trial("0000")
    assert (kept.status, len(kept.reports)) == (Status.COMPLETED, 3)
    assert [(trial.status.value, len(trial.reports)) for trial in sweep.told] == [
        ("RUNNING", 0),
        ("RUNNING", 1),
        ("RUNNING", 2),
        ("COMPLETED", 3),
    ]


def test_a_trial_that_the_scheduler_stops_is_pruned_with_its_last_epoch(driver: Callable[..., Driver]) -> None:
    """Tune shows the result on which a trial is stopped only with its end."""
    sweep = driver()
    trial = sweep.epoch("t", sweep.begin("t"), 0.4)
    sweep.searcher.on_trial_complete("t", Answer(trial=grown(trial, 0.3)).to_tune())
    told = sweep.study.trials[0]
    assert (told.state, told.intermediate_values) == (TrialState.PRUNED, {1: 0.4, 2: 0.3})
    assert sweep.ledger.read_trial("0000").status is Status.PRUNED


def test_a_dead_worker_is_a_failure_with_what_was_known_and_a_log(driver: Callable[..., Driver]) -> None:
    sweep = driver()
    sweep.epoch("t", sweep.begin("t"), 0.5)
    sweep.searcher.on_trial_complete("t", error=True)
    kept = sweep.ledger.read_trial("0000")
    assert (kept.status, len(kept.reports)) == (Status.FAILED, 1)
    assert kept.failure is not None
    assert kept.failure.message.startswith("its process died 3 times")
    assert kept.failure.log == "logs/0000.log"
    assert sweep.study_states() == ["FAIL"]


@pytest.mark.parametrize("killed", [True, False])
def test_a_resume_goes_on_with_the_unfinished_first_under_their_ids(
    driver: Callable[..., Driver], killed: bool
) -> None:
    sweep = driver(points=POINTS, trials=5)
    sweep.complete("a", sweep.begin("a"), 0.5, 0.6)
    begun = [sweep.begin("b"), sweep.epoch("c", sweep.begin("c"), 0.4)]
    if not killed:
        sweep.states.interrupt()
    sweep.restart()
    assert sweep.study_states() == ["COMPLETE"]
    assert sweep.proposals.remaining == 4
    resumed = [sweep.begin("x"), sweep.begin("y")]
    assert [trial.model_copy(update={"status": Status.RUNNING}) for trial in begun] == resumed
    assert sweep.study.trials[2].intermediate_values == {1: 0.4}
    new = [sweep.begin("z"), sweep.begin("w")]
    assert [trial.trial_id for trial in new] == ["0003", "0004"]
    assert sweep.searcher.suggest("v") == Searcher.FINISHED
    for tune_id, trial in zip("xyzw", [*resumed, *new], strict=True):
        sweep.complete(tune_id, trial, 0.5, 0.7)
    assert sweep.study_states() == ["COMPLETE"] * 5
    assert sweep.study.trials[2].intermediate_values == {1: 0.4, 2: 0.5, 3: 0.7}
    assert [trial.trial_id for trial in sweep.ledger.trials()] == ["0000", "0001", "0002", "0003", "0004"]


def test_a_point_given_twice_is_run_twice_even_across_a_resume(driver: Callable[..., Driver]) -> None:
    sweep = driver(points=POINTS, trials=3)
    sweep.complete("a", sweep.begin("a"), 0.5)
    sweep.restart()
    assert [sweep.begin(name).parameters for name in "bc"] == POINTS[1:]


def test_a_finished_sweep_has_nothing_left_and_an_extended_one_has(driver: Callable[..., Driver]) -> None:
    sweep = driver(trials=1)
    sweep.complete("a", sweep.begin("a"), 0.5)
    sweep.restart()
    assert (sweep.proposals.remaining, sweep.searcher.suggest("b")) == (0, Searcher.FINISHED)
    sweep.spec = sweep.spec.model_copy(update={"search": sweep.spec.search.model_copy(update={"trials": 2})})
    sweep.restart()
    assert sweep.begin("b").trial_id == "0001"


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsga2"])
def test_the_same_seed_one_trial_after_another_proposes_the_same(
    driver: Callable[..., Driver], tmp_path: Path, sampler: str
) -> None:
    first = driver(sampler=sampler, trials=14)
    (tmp_path / "again").mkdir()
    again = Driver(first.spec, tmp_path / "again")
    for sweep in (first, again):
        for number in range(14):
            trial = sweep.begin(str(number))
            sweep.complete(str(number), trial, trial.config.lr)
    assert [t.parameters for t in first.ledger.trials()] == [t.parameters for t in again.ledger.trials()]


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsga2", "gp"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sweep_that_was_killed_proposes_what_it_would_have_undisturbed(
    driver: Callable[..., Driver], tmp_path: Path, sampler: str
) -> None:
    undisturbed = driver(sampler=sampler, trials=14)
    (tmp_path / "killed").mkdir()
    killed = Driver(undisturbed.spec, tmp_path / "killed")
    for number in range(14):
        for sweep in (undisturbed, killed):
            trial = sweep.begin(str(number))
            if sweep is killed and number in (0, 4, 11):
                sweep.restart()
                trial = sweep.begin(str(number))
            sweep.complete(str(number), trial, trial.config.lr)
    parameters = [trial.parameters for trial in undisturbed.ledger.trials()]
    assert [trial.parameters for trial in killed.ledger.trials()] == parameters
    # A Gaussian process may return to the end of a range, and a child may equal its parent.
    assert sampler in ("gp", "nsga2") or len({str(point) for point in parameters}) == 14, "nothing is proposed twice"


def test_once_a_budget_is_used_up_nothing_begins_and_what_is_stopped_can_be_resumed(
    driver: Callable[..., Driver],
) -> None:
    sweep = driver()
    trial = sweep.epoch("a", sweep.begin("a"), 0.4)
    sweep.over = True
    assert sweep.searcher.suggest("b") == Searcher.FINISHED
    sweep.searcher.on_trial_complete("a", Answer(trial=grown(trial, 0.5)).to_tune())
    assert sweep.ledger.read_trial("0000").status is Status.INTERRUPTED
    assert sweep.states.interrupt() == []
    assert sweep.study_states() == ["FAIL"]
    sweep.restart()
    assert (sweep.study_states(), sweep.proposals.remaining) == ([], 4)


def test_a_driver_that_has_been_stopped_begins_nothing(driver: Callable[..., Driver]) -> None:
    sweep = driver()
    trial = sweep.begin("a")
    sweep.stopped = True
    sweep.complete("a", trial, 0.5)
    assert sweep.searcher.suggest("b") == Searcher.FINISHED
    assert [trial.trial_id for trial in sweep.ledger.trials()] == ["0000"]
    assert sweep.ledger.read_trial("0000").status is Status.COMPLETED
    assert sweep.proposals.remaining == 3


def test_what_would_have_been_stopped_anyway_when_the_budget_ended_is_stopped(driver: Callable[..., Driver]) -> None:
    sweep = driver()
    trial = sweep.begin("a")
    sweep.over = True
    sweep.pruned_at_end.add("a")
    sweep.searcher.on_trial_complete("a", Answer(trial=grown(trial, 0.1)).to_tune())
    assert sweep.ledger.read_trial("0000").status is Status.PRUNED
    assert sweep.study_states() == ["PRUNED"]


def test_a_grid_is_run_in_order_and_resumed_where_it_stood(small_spec: SmallSpec, tmp_path: Path) -> None:
    space = {"strategy": {"choice": ["head", "full"]}, "lr": {"choice": [1e-3, 1e-2]}}
    spec = small_spec(space=space, search={"sampler": "grid", "trials": 4})
    sweep = Driver(spec, tmp_path)
    sweep.complete("a", sweep.begin("a"), 0.5)
    sweep.restart()
    for tune_id in "bcd":
        sweep.begin(tune_id)
    assert [trial.parameters for trial in sweep.ledger.trials()] == list(spec.search_space.grid())


def test_a_trial_whose_storage_failed_is_no_failure_and_is_gone_on_with(driver: Callable[..., Driver]) -> None:
    sweep = driver()
    trial = sweep.epoch("a", sweep.begin("a"), 0.5)
    message = "runs: the disk is full; free some space"
    sweep.searcher.on_trial_complete("a", ended(trial, EndKind.STORAGE_FAILED, message))
    assert [str(error) for error in sweep.given_up] == ["runs: the disk is full; free some space"]
    assert sweep.ledger.trials() == [trial]
    assert sweep.study_states() == ["RUNNING"]
    sweep.restart()
    assert sweep.begin("b") == trial


def test_pickling_it_is_tiny_and_brings_nothing_along(driver: Callable[..., Driver], tmp_path: Path) -> None:
    sweep = driver()
    sweep.begin("a")
    text = pickle.dumps(sweep.searcher)
    assert len(text) < 200
    assert vars(pickle.loads(text)) == {}
    sweep.searcher.save(str(tmp_path / "snapshot"))
    assert not (tmp_path / "snapshot").exists()

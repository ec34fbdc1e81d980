"""The searchers that are compared, each with its stopper, driven through the calls that Ray Tune makes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from unittest import mock

import optuna
from optuna.trial import TrialState
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from replay import Table

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.search.proposals import Proposals
from orchestrator.search.random_points import Price, price_function
from orchestrator.search.rungs import Rungs
from orchestrator.search.samplers import make_sampler
from orchestrator.search.starting_points import starting_points
from orchestrator.search.study import STATES
from orchestrator.spec.sections import Asha
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tuner.scheduler import PlanAwareAsha
from orchestrator.tuner.searcher import LedgerSearcher
from orchestrator.tuner.trial_states import TrialStates
from orchestrator.worker.assignment import Answer, Assignment, EndKind, TrialEnd
from search_spaces.domains import Choice, Int
from search_spaces.space import Branch, Point, SearchSpace
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

GRACE, REDUCTION = 1, 3
SCORE, EPOCH = "score", "training_iteration"


class Ours:
    """LedgerSearcher on a study of its own, and the given scheduler; `price` is what a look at a trial costs."""

    def __init__(self, spec: SweepSpec, scheduler: Any, price: Price) -> None:
        self.scheduler = scheduler
        folder = Path("/nowhere")
        # As `build_study` makes it, but in memory: where a study lies decides nothing, and its journal takes time.
        self.study = optuna.create_study(sampler=make_sampler(spec.search), direction="maximize")
        ledger = _Memory(RunFolder(folder))

        def assign(trial: TrialResult) -> Assignment:
            return Assignment(trial=trial, run=folder, cache=folder, resources=spec.resources)

        first = starting_points(spec.problem, spec.given_points(), ())
        proposals = Proposals(spec.problem, self.study, [], first, price)
        states = TrialStates(ledger, self.study, lambda trial: None, _raise)
        self.searcher = LedgerSearcher(proposals, states, assign)
        self.trials: dict[str, TrialResult] = {}

    def suggest(self, key: str) -> Point | None:
        """The searcher's next trial."""
        config = self.searcher.suggest(key)
        if not isinstance(config, dict):
            return None
        self.trials[key] = Assignment.from_tune(config).trial
        return self.trials[key].parameters

    def report(self, key: str, scores: tuple[float, ...], *, done: bool) -> bool:
        """Tell both, as Tune does."""
        trial = self.trials[key]
        epoch = EpochReport(
            epoch=len(scores),
            metrics={trial.config.objective.metric: scores[-1]},
            seconds=0,
            checkpoint="last",
            ended_by="budget" if done else None,
        )
        trial = trial.model_copy(update={"reports": (*trial.reports, epoch)})
        self.trials[key] = trial
        answer = Answer(trial=trial, end=TrialEnd(kind=EndKind.COMPLETED) if done else None)
        result = {**answer.to_tune(), SCORE: max(scores), EPOCH: len(scores)}
        return _as_tune(self.searcher, self.scheduler, key, result)


class Stock:
    """Ray's own OptunaSearch and AsyncHyperBandScheduler, with the space as Ray's guide has it: define by run."""

    def __init__(self, spec: SweepSpec, seed: int) -> None:
        space = spec.search_space
        self.searcher = OptunaSearch(lambda trial: _suggest_plainly(space, trial), metric=SCORE, mode="max", seed=seed)
        self.scheduler = stock_asha(spec)

    def suggest(self, key: str) -> Point | None:
        """The searcher's next trial."""
        self.scheduler.on_trial_add(None, SimpleNamespace(trial_id=key))
        return self.searcher.suggest(key)

    def report(self, key: str, scores: tuple[float, ...], *, done: bool) -> bool:
        """Tell both, as Tune does."""
        result = {SCORE: scores[-1], EPOCH: len(scores), "done": done}
        return _as_tune(self.searcher, self.scheduler, key, result)


def stock_asha(spec: SweepSpec) -> AsyncHyperBandScheduler:
    """Ray's scheduler with our grace and reduction."""
    return AsyncHyperBandScheduler(
        EPOCH, SCORE, "max", max_t=spec.trial["epochs"], grace_period=GRACE, reduction_factor=REDUCTION
    )


class StockAsha:
    """Ray's scheduler where ours would be: trials are judged before they thaw, and back-filled."""

    def __init__(self, spec: SweepSpec) -> None:
        self.stock = stock_asha(spec)
        self._known: set[str] = set()

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge it; a trial is made known with its first result."""
        if trial.trial_id not in self._known:
            self._known.add(trial.trial_id)
            self.stock.on_trial_add(controller, trial)
        return self.stock.on_trial_result(controller, trial, result)

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Back-fill it."""
        self.stock.on_trial_complete(controller, trial, result)


class NeverStop:
    """No stopping at all."""

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on."""
        return TrialScheduler.CONTINUE

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing."""


class PlainBranch(Branch):
    """A branch that goes by the name of its dimension, whatever its condition."""

    def label(self, name: str) -> str:
        """The plain name."""
        return name


def one_name(spec: SweepSpec) -> SweepSpec:
    """The sweep with one name for all ranges of a dimension."""
    plain = spec.model_copy()
    dimensions = {
        name: tuple(PlainBranch(branch.domain, branch.when) for branch in branches)
        for name, branches in spec.search_space.dimensions.items()
    }
    vars(plain)["search_space"] = replace(spec.search_space, dimensions=dimensions)
    return plain


@contextmanager
def untold() -> Iterator[None]:
    """Stopped trials are told as complete, with what they had reached."""
    with mock.patch.dict(STATES, {Status.PRUNED: TrialState.COMPLETE}):
        yield


def ours(spec: SweepSpec, table: Table, resource: Literal["compute", "epochs"] = "compute") -> Ours:
    """All of ours."""
    scheduler = plan_aware(spec, table, resource)
    return Ours(spec, scheduler, price_function(scheduler.rungs))


def ours_judged_before_the_thaw(spec: SweepSpec, table: Table) -> Ours:
    """Ours with Ray's scheduler, which looks at every trial after the same epoch."""
    return Ours(spec, StockAsha(spec), lambda config: sum(table.find(config.model_dump()).flops[:GRACE]))


def never_stopped(spec: SweepSpec, table: Table) -> Ours:
    """Our searcher, and nothing is stopped."""
    return Ours(spec, NeverStop(), lambda config: sum(table.find(config.model_dump()).flops))


def plan_aware(spec: SweepSpec, table: Table, resource: Literal["compute", "epochs"] = "compute") -> PlanAwareAsha:
    """Our scheduler; the FLOPs are the table's."""
    asha = Asha(grace=GRACE, reduction=REDUCTION, resource=resource)
    return PlanAwareAsha(Rungs(asha, spec.trial["epochs"], lambda config: table.find(config.model_dump()).flops))


def _raise(error: Exception) -> None:
    raise error


class _Memory(Ledger):
    """A ledger that forgets: nobody resumes a replay."""

    def write_trial(self, result: TrialResult) -> None:
        """Nothing."""


def _as_tune(searcher: Any, scheduler: Any, key: str, result: dict[str, Any]) -> bool:
    """Steps of Tune's controller for a result (Ray 2.60, `_process_trial_result` and `stop_trial`)."""
    trial = SimpleNamespace(trial_id=key)
    if not result["done"] and scheduler.on_trial_result(None, trial, result) != TrialScheduler.STOP:
        searcher.on_trial_result(key, result)
        return True
    scheduler.on_trial_complete(None, trial, result)
    searcher.on_trial_complete(key, result)
    return False


def _suggest_plainly(space: SearchSpace, trial: optuna.Trial) -> Point:
    """Suggest as a define-by-run function does: an `if` for each condition, one name per parameter."""

    def ask(name: str, branch: Branch) -> Any:
        domain = branch.domain
        if isinstance(domain, Choice):
            return trial.suggest_categorical(name, domain.values)
        if isinstance(domain, Int):
            return trial.suggest_int(name, domain.low, domain.high)
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)

    return space.walk(ask)

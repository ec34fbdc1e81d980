"""Study: the Optuna study of a run, built from the ledger and rebuilt at any time."""

import json
import warnings
import weakref
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from orchestrator.search.model_history import SampledJournal
from orchestrator.search.optuna_space import distributions, to_parameters
from orchestrator.search.samplers import make_sampler, population_size
from orchestrator.spec.search_problem import SearchProblem
from search_spaces.domains import Choice, Scalar
from search_spaces.space import Branch, Point, SearchSpace
from trainables.config import TrialConfig
from trainables.result import TrialResult
from trainables.status import Status

STATES = {
    Status.COMPLETED: TrialState.COMPLETE,
    Status.PRUNED: TrialState.PRUNED,
    Status.PRUNED_OOM: TrialState.FAIL,
    Status.FAILED: TrialState.FAIL,
    Status.TIMED_OUT: TrialState.FAIL,
}


def build_study(
    name: str,
    problem: SearchProblem,
    results: Iterable[TrialResult],
    journal: Path,
    others: Sequence[FrozenTrial] = (),
) -> optuna.Study:
    """Build a study with `others` and every finished trial of the ledger, in a fresh journal for optuna-dashboard.

    A trial outside the space, which may have been narrowed since, is left out: the sampler may not propose points
    there.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.unlink(missing_ok=True)
    study = optuna.create_study(
        storage=_storage(problem, _Journal(journal)),
        sampler=make_sampler(problem.search),
        study_name=name,
        direction=problem.objective.direction,
    )
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study.set_metric_names([problem.objective.metric])  # in place of "Objective 0" in optuna-dashboard
    ended = [result for result in results if not result.status.unfinished]
    found = [(result, locate_trial(problem, result)) for result in ended]
    frozen = [
        *others,
        *(to_frozen(problem.space, result, point) for result, point in found if point is not None),
    ]
    if problem.search.sampler == "nsga2":
        _number_generations(frozen, population_size(problem.search))
    study.add_trials(frozen)
    return study


def _storage(problem: SearchProblem, journal: "_Journal") -> JournalStorage:
    # nsga2 needs all trials of a generation, and the others learn from none.
    if problem.search.sampler in ("tpe", "gp"):
        return SampledJournal(journal, maximize=problem.objective.direction == "maximize")
    return JournalStorage(journal)


def _number_generations(trials: Sequence[FrozenTrial], size: int) -> None:
    """Set the generation of nsga2 of each trial, as if they had been asked one after another.

    The key is private; `test_study` checks that a rebuilt study proposes the same points as the original one.
    """
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    for number, trial in enumerate(completed):
        trial.system_attrs[optuna.samplers.NSGAIISampler._get_generation_key()] = number // size


def locate(space: SearchSpace, config: TrialConfig, parameters: Mapping[str, Any]) -> Point | None:
    """Return the point of `space` at which a configuration lies, None where it lies outside.

    `parameters` is the point of the space in which it was proposed; other dimensions have the configuration's values.
    """

    def value(name: str, branch: Branch) -> Scalar:
        given = parameters.get(name, getattr(config, name))
        given = "none" if given is None else given
        if isinstance(branch.domain, Choice):  # 1 in the file is 1.0 in a configuration
            given = next((own for own in branch.domain.values if own == given), given)
        if not branch.domain.contains(given):
            raise LookupError(name)
        return cast(Scalar, given)

    try:
        return space.walk(value)
    except LookupError:
        return None


def locate_trial(problem: SearchProblem, trial: TrialResult) -> Point | None:
    """Return the point of the sweep's space at which a trial of its run lies, None where it lies outside.

    A trial also lies outside where a parameter of its proposal is no longer a dimension of that point, and is fixed at
    another value.
    """
    point = locate(problem.space, trial.config, trial.parameters)
    if point is None:
        return None
    own = problem.configure(point)
    gone = trial.parameters.keys() - point.keys()
    return point if all(getattr(own, name) == getattr(trial.config, name) for name in gone) else None


class _Journal(JournalFileBackend):
    """Optuna's journal of this process alone, without a flush at every line: the ledger has what a crash may cut off.

    Optuna's own keeps the place of every line that it has read, and this one only that of the next. The file stays
    open: a sweep does not end when a user deletes it meanwhile.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._file = path.open("a+b")
        weakref.finalize(self, self._file.close)
        self._read, self._place, self._end = 0, 0, 0

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append a line of JSON for each of `logs`, in one write."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._file.write(lines.encode())
        self._file.flush()
        self._end = self._file.tell()

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the lines from that number on."""
        if log_number_from < self._read:
            self._read, self._place = 0, 0
        if self._place == self._end:
            return  # Optuna asks at every look at a trial
        self._file.seek(self._place)
        for line in self._file:
            self._read, self._place = self._read + 1, self._place + len(line)
            if self._read > log_number_from:
                yield json.loads(line)


def to_frozen(space: SearchSpace, result: TrialResult, point: Point, source: str | None = None) -> FrozenTrial:
    """Return a finished trial that lies at `point` in Optuna's form; `source` is the run it comes from, if another.

    A completed trial has the value of its best epoch, a stopped one is PRUNED with its intermediate values, any other
    is FAIL. An early value that counts as a final one would teach the sampler that long trials are better.
    """
    parameters = to_parameters(space, point)
    known = distributions(space)
    state = STATES[result.status]
    objective = result.config.objective
    return optuna.trial.create_trial(
        state=state,
        value=_value(state, result),
        params=parameters,
        distributions={name: known[name] for name in parameters},
        intermediate_values={report.epoch: objective.value(report.metrics) for report in result.reports},
        user_attrs={"trial_id": result.trial_id} if source is None else {"from": f"{source}/{result.trial_id}"},
    )


def _value(state: TrialState, result: TrialResult) -> float | None:
    """Return a completed trial's value at its best epoch, a stopped one's last value, as Optuna's own `tell` does."""
    if state is TrialState.PRUNED and result.reports:
        return result.config.objective.value(result.reports[-1].metrics)
    return result.objective if state is TrialState.COMPLETE else None


def tell(study: optuna.Study, trial: optuna.Trial, result: TrialResult) -> None:
    """Record a running trial's end in the same terms as `to_frozen`; its epochs have been reported.

    An INTERRUPTED trial is FAIL, from which no sampler learns: a resume rebuilds the study.
    """
    state = STATES.get(result.status, TrialState.FAIL)
    study.tell(trial, result.objective if state is TrialState.COMPLETE else None, state=state)

"""The Optuna study of a run: derived from the ledger, told the truth, rebuilt at will."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from orchestrator.spec import SweepSpec
from orchestrator.suggest import distributions, make_sampler, to_parameters
from search_spaces.space import SearchSpace
from trainables.result import Status, TrialResult

STATES = {
    Status.COMPLETED: TrialState.COMPLETE,
    Status.PRUNED: TrialState.PRUNED,
    Status.PRUNED_OOM: TrialState.FAIL,
    Status.FAILED: TrialState.FAIL,
    Status.TIMED_OUT: TrialState.FAIL,
}


def build_study(spec: SweepSpec, results: Iterable[TrialResult], journal: Path) -> optuna.Study:
    """A study with every finished trial of the ledger, in a fresh journal that optuna-dashboard can read."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.unlink(missing_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(_Journal(journal)),
        sampler=make_sampler(spec.search),
        study_name=spec.name,
        direction="maximize" if spec.objective.mode == "max" else "minimize",
    )
    for result in results:
        if not result.status.unfinished:
            study.add_trial(to_frozen(spec.search_space, result))
    return study


class _Journal(JournalFileBackend):
    """Optuna's journal without its wait for the disk at every line: what a crash may cut off, the ledger has."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append a line of JSON for each of `logs`, in one write."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self.path.open("ab") as file:
            file.write(lines.encode())


def to_frozen(space: SearchSpace, result: TrialResult) -> FrozenTrial:
    """A finished trial as Optuna is told of it.

    A completed trial has the value of its best epoch, a stopped one is PRUNED with its intermediate values, anything
    else is FAIL: an early value taken for a final one would teach the sampler that long trials are better.
    """
    parameters = to_parameters(space, result.parameters)
    known = distributions(space)
    state = STATES[result.status]
    metric = result.config.objective.metric
    return optuna.trial.create_trial(
        state=state,
        value=_value(state, result),
        params=parameters,
        distributions={name: known[name] for name in parameters},
        intermediate_values={report.epoch: report.metrics[metric] for report in result.reports},
        user_attrs={"trial_id": result.trial_id},
    )


def _value(state: TrialState, result: TrialResult) -> float | None:
    """The best epoch's value of a completed trial; of a stopped one its last, as Optuna's own `tell` records it."""
    if state is TrialState.PRUNED and result.reports:
        return result.reports[-1].metrics[result.config.objective.metric]
    return result.objective if state is TrialState.COMPLETE else None


def tell(study: optuna.Study, trial: optuna.Trial, result: TrialResult) -> None:
    """Tell a running trial's end in the same terms as `to_frozen`; its epochs have been reported."""
    state = STATES[result.status]
    study.tell(trial, result.objective if state is TrialState.COMPLETE else None, state=state)

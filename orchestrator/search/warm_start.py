"""Warm start: trials of other runs, for the sampler alone. They appear only on their own run's leaderboard.

Only trials that this sweep could have run itself are used: same images, size and fixed settings, a point of its space.
The seed may differ. They are copied into the run, so that a resume neither needs the other runs nor depends on their
changes.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from optuna.trial import FrozenTrial
from pydantic import BaseModel, ConfigDict

from analysis.ledger import Ledger, RunRecord, read_record, write_record
from analysis.run_folder import RunFolder, open_run
from analysis.run_store import RunStore
from orchestrator.search.study import locate, to_frozen
from orchestrator.spec.search_problem import SearchProblem
from search_spaces.errors import InvalidInput
from search_spaces.space import Point
from trainables.result import TrialResult
from trainables.storage.place import Place
from trainables.task_catalog import METRICS_VERSION, is_same_metric

log = logging.getLogger(__name__)


class WarmStart(BaseModel):
    """WarmStart: finished trials of other runs, by the name of the run."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    runs: dict[str, tuple[TrialResult, ...]] = {}
    """All finished trials of each run, by its folder, whatever space they are from."""


def records(problem: SearchProblem) -> dict[Path, RunRecord]:
    """Read the records of the runs of `search.warm_start`. Raises InvalidInput for a missing or incompatible one."""
    found: dict[Path, RunRecord] = {}
    for path in problem.search.warm_start or ():
        try:
            found[path] = Ledger(open_run(path)).read_run()
        except InvalidInput as error:
            raise InvalidInput(f"search.warm_start: {error}") from None
        metric = found[path].objective.metric
        if metric != problem.objective.metric:
            raise InvalidInput(
                f"search.warm_start: {path} must have the objective {problem.objective.metric}, got {metric}: "
                "its values say nothing here; remove it from the list"
            )
    return found


def collect_trials(
    problem: SearchProblem,
    is_trained: Callable[[str], bool],
    *,
    lacks_classes: bool = False,
    metrics_version: int = METRICS_VERSION,
) -> WarmStart:
    """Read those runs' trials.

    `metrics_version` is that of this run, whose validation split `lacks_classes` of train or not. Raises InvalidInput
    for a run whose fingerprint `is_trained` refuses as that of other images, or whose objective is defined otherwise.
    """
    runs: dict[str, tuple[TrialResult, ...]] = {}
    metric = problem.objective.metric
    for path, record in records(problem).items():
        if not is_trained(record.fingerprint):
            raise InvalidInput(
                f"search.warm_start: {path} must be on the images of this sweep, got others: values measured on "
                "other images would be taken for values on these; remove it, and give its best configurations as "
                "search.points"
            )
        if not is_same_metric(metric, record.metrics_version, metrics_version, lacks_classes=lacks_classes):
            raise InvalidInput(
                f"search.warm_start: {path} must define {metric} as this run does, got version "
                f"{record.metrics_version} of the metrics in place of {metrics_version}, which count a class without "
                "images differently, and val lacks one; remove it, and give its best configurations as search.points"
            )
        trials = Ledger(open_run(path)).trials()
        runs[str(path)] = tuple(trial for trial in trials if not trial.status.unfinished)
    return WarmStart(runs=runs)


def store(run: RunFolder, warm: WarmStart) -> None:
    """Copy the collected trials into the run, in place of the earlier ones."""
    if warm.runs or _copy_of(run).is_file():
        write_record(run.warm_start, warm)


def warm_trials(problem: SearchProblem, run: RunFolder) -> list[FrozenTrial]:
    """Return the trials of other runs, as copied into this one, that lie in the space; log the number of the others."""
    found: list[FrozenTrial] = []
    copy = _copy_of(run)
    if not copy.is_file():
        return found
    for source, trials in read_record(copy, WarmStart).runs.items():
        points = [(trial, point) for trial in trials if (point := _point(problem, trial)) is not None]
        found += [to_frozen(problem.space, trial, point, Path(source).name) for trial, point in points]
        log.info(
            "warm start from %s: %d trials, %d left out, which this sweep could not have run itself",
            source,
            len(points),
            len(trials) - len(points),
        )
    return found


def _copy_of(run: RunFolder) -> Place:
    return RunStore(run).newest(lambda layer: layer.warm_start)


def _point(problem: SearchProblem, trial: TrialResult) -> Point | None:
    """Return the point of a trial of another run; None where this sweep could not have run it."""
    point = locate(problem.space, trial.config, trial.parameters)
    if point is None:
        return None
    own = problem.configure(point)
    # The place of images and weights may differ, and the seed; everything else decides the result.
    theirs = trial.config
    decided = ("image_size", "resize_mode", "max_pixels")
    same_pixels = all(getattr(own.data, name) == getattr(theirs.data, name) for name in decided)
    same = own.model_copy(update={"data": theirs.data, "seed": theirs.seed}) == theirs
    return point if same_pixels and same else None

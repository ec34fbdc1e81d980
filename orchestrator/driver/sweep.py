"""A sweep, from the resolved specification to the leaderboard."""

import contextlib
import datetime
import importlib.metadata
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder, open_run
from analysis.run_store import RunStore, write_atomically
from orchestrator.cluster.joining_nodes import JoiningNodes
from orchestrator.cluster.node_checks import joined
from orchestrator.cluster.runtime import is_joined
from orchestrator.driver.preflight import preflight
from orchestrator.driver.probe import points_by_score, probe_architectures
from orchestrator.driver.resume_checks import budget_meter, check_resumable
from orchestrator.results.retention import remove_weights
from orchestrator.search import warm_start
from orchestrator.search.optuna_space import distributions_json
from orchestrator.search.random_points import price_function, random_point
from orchestrator.search.rungs import unstoppable_warning
from orchestrator.search.study import build_study
from orchestrator.spec.loading import load_run
from orchestrator.spec.sections import cache_budget
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.observer import OnEnding, Progress, silent
from orchestrator.tuner.searcher import LedgerSearcher
from orchestrator.tuner.stopper import Watch
from orchestrator.tuner.tuner import make_asha, make_tuner
from orchestrator.worker.assignment import Assignment
from orchestrator.worker.log_file import LogFile
from search_spaces.errors import StorageFailed, SweepFailed, ThawError
from trainables.data.arrays import Arrays
from trainables.result import TrialResult
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place

log = logging.getLogger(__name__)

RECORDED_PACKAGES = ("thaw", "torch", "timm", "accelerate", "ray", "optuna", "wandb")


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended."""

    run: RunFolder
    leaderboard: Leaderboard
    interrupted: bool
    """Whether a person stopped it; `thaw resume` goes on."""

    ended: str | None = None
    """Which budget ended it, and how; None while none has."""


def run_sweep(
    spec: SweepSpec,
    arrays: Arrays | None = None,
    progress: Progress = silent,
    address: str | None = None,
    on_ending: OnEnding = silent,
) -> SweepOutcome:
    """Run a new sweep to its end; `arrays` is what `preflight` returned, where that has been done already.

    It runs on the Ray cluster at `address` (`auto`, HOST:PORT), or at $RAY_ADDRESS, and without them on this machine.
    Raises InvalidInput before anything is trained or written, SweepFailed when no trial completes.
    """
    arrays = arrays or preflight(spec)
    run = RunFolder(spec.run_root)
    warm = warm_start.collect_trials(spec, arrays.fingerprint)
    with joined(spec, arrays, address):
        warm_start.store(run, warm)
        _create(run, spec, arrays)
        return drive(spec, run, arrays, progress, address, on_ending)


def resume_sweep(
    folder: Place, progress: Progress = silent, address: str | None = None, on_ending: OnEnding = silent
) -> SweepOutcome:
    """Go on with a run: unfinished trials from their last checkpoints, then what is left of the planned ones.

    Raises InvalidInput when `folder` is no run, another process drives it, its budget is used up, or data or weights
    are no longer there.
    """
    run = open_run(folder)
    spec = load_run(run)
    arrays = check_resumable(spec, run, Ledger(run).read_run(), folder)
    return drive(spec, run, arrays, progress, address, on_ending)


def space_record(spec: SweepSpec) -> dict[str, Any]:
    """What the run's record says of the sweep file, which an extension changes."""
    return {
        "space": spec.space,
        "distributions": distributions_json(spec.search_space),
        "trials_planned": spec.search.trials,
    }


def _create(run: RunFolder, spec: SweepSpec, arrays: Arrays) -> None:
    write_atomically(run.sweep_yaml, spec.to_yaml())
    Ledger(run).write_run(
        RunRecord(
            name=spec.name,
            objective=spec.objective,
            created=datetime.datetime.now(datetime.UTC),
            classes=arrays.classes,
            fingerprint=arrays.fingerprint,
            sample_counts={split: len(samples) for split, samples in arrays.dataset.splits.items()},
            versions={name: importlib.metadata.version(name) for name in RECORDED_PACKAGES},
            **space_record(spec),
        )
    )


def drive(
    spec: SweepSpec,
    run: RunFolder,
    arrays: Arrays,
    progress: Progress = silent,
    address: str | None = None,
    on_ending: OnEnding = silent,
) -> SweepOutcome:
    """Run what is left of a run to its end; raises SweepFailed when it has no completed trial then."""
    # Resolved, since the workers' working directory is not ours.
    run = RunFolder(run.root.resolve(), cache_folder(spec.storage.cache_dir))
    ledger = Ledger(run)
    trials = ledger.trials()
    # A crash between the two files of an extension leaves the record behind.
    ledger.write_run(ledger.read_run().model_copy(update={**space_record(spec), "ended": None}))
    spent = budget_meter(spec, ledger.read_run(), trials)

    def assign(trial: TrialResult) -> Assignment:
        return Assignment(
            trial=trial,
            sweep=spec.name,
            run=run.root,
            cache=cache_folder(spec.storage.cache_dir),
            cache_budget=cache_budget(spec.storage.cache_budget),
            resources=spec.resources,
            wandb=spec.tracking.wandb,
            target=spec.budget.target,
        )

    def changed(trial: TrialResult) -> None:
        spent.note(trial)
        progress(trial)

    run.local.mkdir(parents=True, exist_ok=True)
    interrupted = False
    with Watch(run, spent, on_ending) as watch, joined(spec, arrays, address), _log_to(run), watch.giving_up():
        shutil.rmtree(run.tune, ignore_errors=True)
        study = build_study(spec, trials, run.study_log, warm_start.warm_trials(spec, run))
        first_points = points_by_score(spec, _probe_scores(spec, ledger, watch))
        asha = make_asha(spec, trials)
        price = price_function(asha.rungs if asha else None)
        searcher = LedgerSearcher(
            spec,
            ledger,
            study,
            assign,
            changed,
            first_points,
            over=watch.is_over,
            give_up=watch.give_up,
            pruned_at_end=asha.pruned_at_end if asha else (),
            draw=lambda number: random_point(spec, number, price, study),
        )
        if is_joined(address):
            watch.joining_nodes = JoiningNodes(spec, arrays.dataset)
        log.info("%s: %d trials to go, %d known", spec.name, searcher.remaining, len(trials))
        late = unstoppable_warning(spec)
        if late is not None:
            log.warning("%s", late)
        if searcher.remaining:
            make_tuner(spec, run, searcher, asha, watch, address).fit()
        # After a failure nothing more can be written; what is RUNNING in the ledger is resumed as well.
        interrupted = watch.failed is None and (
            bool(searcher.interrupt()) or (watch.is_stopped and searcher.remaining > 0)
        )
    if watch.failed is not None:
        raise StorageFailed(f"{watch.failed}; nothing that was written is lost: go on with `thaw resume {run.root}`")
    board = Leaderboard.from_run(run)
    board.write_csv(run.leaderboard_csv)
    if watch.complaint is not None:
        raise ThawError(
            f"{watch.complaint}\nThe sweep has stopped. Mend or remove the node, and go on: thaw resume {run.root}"
        )
    if spec.storage.keep_best is not None and not interrupted:
        remove_weights(run, board, spec.storage.keep_best)
    if not interrupted and not any(entry.rank for entry in board.entries):
        raise SweepFailed(_why_failed(run, ledger.trials(), watch.ended))
    return SweepOutcome(run, board, interrupted, watch.ended)


def _probe_scores(spec: SweepSpec, ledger: Ledger, watch: Watch) -> dict[str, float]:
    """The scores of the run's architectures; measured where that is asked for and has not been done."""
    record = ledger.read_run()
    if not spec.search.probe:
        return record.probe
    scores = probe_architectures(spec, watch.stop_all, record.probe)
    if not watch.stop_all():
        ledger.write_run(record.model_copy(update={"probe": scores}))
    return scores


@contextlib.contextmanager
def _log_to(run: RunFolder) -> Iterator[None]:
    """Send what Ray, Optuna and we have to say to the sweep's log instead of the terminal."""
    handler = LogFile(RunStore(run).fetch(run.sweep_log), "%(asctime)s %(levelname)s %(name)s: %(message)s")
    loggers = [logging.getLogger(name) for name in ("ray", "optuna", "orchestrator", "trainables")]
    former = [(logger, logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
    logging.getLogger("orchestrator").setLevel(logging.INFO)
    # Tune complains at the end that it finds no result files: the ledger takes their place.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, handlers, propagate in former:
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()


def _why_failed(run: RunFolder, trials: list[TrialResult], ended: str | None) -> str:
    if ended is not None:
        return (
            f"no trial of {run.root} completed, {ended}; "
            f"go on with `thaw extend {run.root} --set {ended.partition(':')[0]}=...`"
        )
    reasons = [f"  {trial.trial_id}: {trial.failure.message}" for trial in trials if trial.failure is not None]
    shown = "\n".join(reasons[:5])
    return f"no trial of {run.root} completed; see `thaw logs {run.root} TRIAL`\n{shown}"

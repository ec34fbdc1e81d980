"""A sweep, from the resolved specification to the leaderboard."""

import contextlib
import datetime
import importlib.metadata
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from optuna.distributions import distribution_to_json

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder, open_run, write_atomically
from orchestrator import warm_start
from orchestrator.assignment import Assignment
from orchestrator.cache_budget import cache_budget
from orchestrator.capacity import limited
from orchestrator.cluster import joined
from orchestrator.continuing import check_goes_on, spending
from orchestrator.draws import drawn, price_by
from orchestrator.forgetting import Forgetting
from orchestrator.gang import placement
from orchestrator.logs import LogFile
from orchestrator.newcomers import Newcomers
from orchestrator.preflight import preflight
from orchestrator.probe import points_by_score, probe_architectures
from orchestrator.progress import OnEnding, Progress, silent
from orchestrator.ray_runtime import is_joined
from orchestrator.restarts import MAX_RESTARTS
from orchestrator.retention import remove_weights
from orchestrator.searcher import LedgerSearcher
from orchestrator.spec import SweepSpec, load_run
from orchestrator.stopping import PlanAwareAsha, never_stopped, rungs_of
from orchestrator.study import build_study
from orchestrator.suggest import distributions
from orchestrator.trial import TrialActor
from orchestrator.watch import Watch
from search_spaces.errors import StorageFailed, SweepFailed, ThawError
from trainables.data.arrays import Arrays
from trainables.folders import cache_folder
from trainables.result import TrialResult
from trainables.storage import Place

from ray import tune  # isort: skip  (after ray_runtime has set Ray's environment)

log = logging.getLogger(__name__)

PACKAGES = ("thaw", "torch", "timm", "accelerate", "ray", "optuna", "wandb")


@dataclass(frozen=True)
class Outcome:
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
) -> Outcome:
    """Run a new sweep to its end; `arrays` is what `preflight` returned, where that has been done already.

    It runs on the Ray cluster at `address` (`auto`, HOST:PORT), or at $RAY_ADDRESS, and without them on this machine.
    Raises InvalidInput before anything is trained or written, SweepFailed when no trial completes.
    """
    arrays = arrays or preflight(spec)
    run = RunFolder(spec.run_root)
    warm = warm_start.collect(spec, arrays.fingerprint)
    with joined(spec, arrays, address):
        warm_start.keep(run, warm)
        _create(run, spec, arrays)
        return drive(spec, run, arrays, progress, address, on_ending)


def resume_sweep(
    folder: Place, progress: Progress = silent, address: str | None = None, on_ending: OnEnding = silent
) -> Outcome:
    """Go on with a run: unfinished trials from their last checkpoints, then what is left of the planned ones.

    Raises InvalidInput when `folder` is no run, another process drives it, its budget is used up, or data or weights
    are no longer there.
    """
    run = open_run(folder)
    spec = load_run(run)
    arrays = check_goes_on(spec, run, Ledger(run).read_run(), folder)
    return drive(spec, run, arrays, progress, address, on_ending)


def told_of(spec: SweepSpec) -> dict[str, Any]:
    """What the run's record says of the sweep file, which an extension changes."""
    return {
        "space": spec.space,
        "distributions": {
            name: distribution_to_json(distribution) for name, distribution in distributions(spec.search_space).items()
        },
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
            versions={name: importlib.metadata.version(name) for name in PACKAGES},
            **told_of(spec),
        )
    )


def drive(
    spec: SweepSpec,
    run: RunFolder,
    arrays: Arrays,
    progress: Progress = silent,
    address: str | None = None,
    on_ending: OnEnding = silent,
) -> Outcome:
    """Run what is left of a run to its end; raises SweepFailed when it has no completed trial then."""
    # Resolved, since the workers' working directory is not ours.
    run = RunFolder(run.root.resolve(), cache_folder(spec.storage.cache_dir))
    ledger = Ledger(run)
    trials = ledger.trials()
    # A crash between the two files of an extension leaves the record behind.
    ledger.write_run(ledger.read_run().model_copy(update={**told_of(spec), "ended": None}))
    spent = spending(spec, ledger.read_run(), trials)

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
        study = build_study(spec, trials, run.study_log, warm_start.others(spec, run))
        first_points = points_by_score(spec, _probe_scores(spec, ledger, watch))
        asha = _asha(spec, trials)
        price = price_by(asha.rungs if asha else None)
        searcher = LedgerSearcher(
            spec,
            ledger,
            study,
            assign,
            changed,
            first_points,
            over=watch.is_over,
            give_up=watch.give_up,
            outdone=asha.outdone if asha else (),
            draw=lambda number: drawn(spec, number, price, study),
        )
        if is_joined(address):
            watch.newcomers = Newcomers(spec, arrays.dataset)
        log.info("%s: %d trials to go, %d known", spec.name, searcher.remaining, len(trials))
        late = never_stopped(spec)
        if late is not None:
            log.warning("%s", late)
        if searcher.remaining:
            _tuner(spec, run, searcher, asha, watch, address).fit()
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
    return Outcome(run, board, interrupted, watch.ended)


def _probe_scores(spec: SweepSpec, ledger: Ledger, watch: Watch) -> dict[str, float]:
    """The scores of the run's architectures; measured where that is asked for and has not been done."""
    record = ledger.read_run()
    if not spec.search.probe:
        return record.probe
    scores = probe_architectures(spec, watch.stop_all, record.probe)
    if not watch.stop_all():
        ledger.write_run(record.model_copy(update={"probe": scores}))
    return scores


def _asha(spec: SweepSpec, trials: list[TrialResult]) -> PlanAwareAsha | None:
    """What stops trials early, its rungs as the trials so far have left them; None where nothing is stopped."""
    rungs = rungs_of(spec)
    if rungs is None:
        return None
    for trial in trials:
        rungs.keeps(trial)
    return PlanAwareAsha(rungs)


def _tuner(
    spec: SweepSpec,
    run: RunFolder,
    searcher: LedgerSearcher,
    asha: PlanAwareAsha | None,
    watch: Watch,
    address: str | None,
) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(TrialActor, placement(spec.resources)),
        tune_config=tune.TuneConfig(
            # Without an explicit limit a searcher gets one pending trial at a time, and actors start one by one.
            search_alg=limited(searcher, spec.resources, searcher.remaining, follow=is_joined(address)),
            scheduler=asha or tune.schedulers.FIFOScheduler(),  # type: ignore[no-untyped-call]
            num_samples=searcher.remaining,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=run.tune.name,
            storage_path=str(run.local),
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
            callbacks=[searcher.restarts, Forgetting()],
            # A trial writes its own checkpoints: RUN/checkpoints, not Tune's folder, is where they are looked for.
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            stop=watch,
            verbose=0,
        ),
    )


@contextlib.contextmanager
def _log_to(run: RunFolder) -> Iterator[None]:
    """Send what Ray, Optuna and we have to say to the sweep's log instead of the terminal."""
    handler = LogFile(run.fetch(run.sweep_log), "%(asctime)s %(levelname)s %(name)s: %(message)s")
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

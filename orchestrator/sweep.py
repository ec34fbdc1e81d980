"""A sweep, from the resolved specification to the leaderboard."""

import contextlib
import datetime
import importlib.metadata
import logging
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from optuna.distributions import distribution_to_json

from analysis import heartbeat
from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder, open_run, write_atomically
from orchestrator import ray_runtime
from orchestrator.assignment import Assignment
from orchestrator.logs import LogFile
from orchestrator.preflight import cache_budget, check_inputs, preflight
from orchestrator.probe import points_by_score, probe_architectures
from orchestrator.progress import Progress, silent
from orchestrator.retention import remove_weights
from orchestrator.searcher import MAX_RESTARTS, LedgerSearcher
from orchestrator.spec import SweepSpec, load_run
from orchestrator.stopping import PlanAwareAsha, Rungs
from orchestrator.study import build_study
from orchestrator.suggest import distributions
from orchestrator.trial import TrialActor
from search_spaces.errors import InvalidInput, StorageFailed, SweepFailed
from trainables.data.arrays import Arrays
from trainables.folders import cache_folder
from trainables.result import TrialResult
from trainables.storage import Place, disk_is_full

from ray import tune  # isort: skip  (after ray_runtime has set Ray's environment)

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
POLL_SECONDS = 0.5
PACKAGES = ("thaw", "torch", "timm", "accelerate", "ray", "optuna", "wandb")


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended."""

    run: RunFolder
    leaderboard: Leaderboard
    interrupted: bool
    """Whether a person stopped it; `thaw resume` goes on."""


def run_sweep(spec: SweepSpec, arrays: Arrays | None = None, progress: Progress = silent) -> Outcome:
    """Run a new sweep to its end; `arrays` is what `preflight` returned, where that has been done already.

    Raises InvalidInput before anything is trained or written, SweepFailed when no trial completes.
    """
    arrays = arrays or preflight(spec)
    run = RunFolder(spec.run_root)
    _create(run, spec, arrays)
    return _drive(spec, run, progress)


def resume_sweep(folder: Place, progress: Progress = silent) -> Outcome:
    """Go on with a run: unfinished trials from their last checkpoints, then what is left of the planned ones.

    Raises InvalidInput when `folder` is no run, another process drives it, or data or weights are no longer there.
    """
    run = open_run(folder)
    spec = load_run(run)
    # A trial that fails for want of its images or weights is not tried again: none may start.
    if check_inputs(spec).fingerprint != Ledger(run).read_run().fingerprint:
        raise InvalidInput(
            f"{spec.data.root}: a run must go on with the images it began with, but they have changed since; "
            "restore them, or launch a new sweep"
        )
    # Last, since two may be started at once: from here on the heartbeat is all but immediate.
    if heartbeat.is_alive(run):
        raise InvalidInput(f"{folder}: a run must have one driver, but it is being driven; see `thaw status {folder}`")
    return _drive(spec, run, progress)


def _create(run: RunFolder, spec: SweepSpec, arrays: Arrays) -> None:
    write_atomically(run.sweep_yaml, spec.to_yaml())
    Ledger(run).write_run(
        RunRecord(
            name=spec.name,
            objective=spec.objective,
            space=spec.space,
            distributions={
                name: distribution_to_json(distribution)
                for name, distribution in distributions(spec.search_space).items()
            },
            created=datetime.datetime.now(datetime.UTC),
            classes=arrays.classes,
            fingerprint=arrays.fingerprint,
            sample_counts={split: len(samples) for split, samples in arrays.dataset.splits.items()},
            trials_planned=spec.search.trials,
            versions={name: importlib.metadata.version(name) for name in PACKAGES},
        )
    )


def _drive(spec: SweepSpec, run: RunFolder, progress: Progress) -> Outcome:
    # Resolved, since the workers' working directory is not ours.
    run = RunFolder(run.root.resolve(), cache_folder(spec.storage.cache_dir))
    ledger = Ledger(run)

    def assign(trial: TrialResult) -> Assignment:
        return Assignment(
            trial=trial,
            sweep=spec.name,
            run=run.root,
            cache=cache_folder(spec.storage.cache_dir),
            cache_budget=cache_budget(spec.storage.cache_budget),
            threads=max(1, int(spec.resources.cpus_per_worker)),
            wandb=spec.tracking.wandb,
        )

    run.local.mkdir(parents=True, exist_ok=True)
    interrupted = False
    with _Watch(run) as watch, ray_runtime.connected(run.local), _log_to(run), watch.giving_up():
        trials = ledger.trials()
        shutil.rmtree(run.tune, ignore_errors=True)
        study = build_study(spec, trials, run.study_log)
        first_points = points_by_score(spec, _probe_scores(spec, ledger, watch))
        searcher = LedgerSearcher(spec, ledger, study, assign, progress, first_points, watch.give_up)
        log.info("%s: %d trials to go, %d known", spec.name, searcher.remaining, len(trials))
        if searcher.remaining:
            _tuner(spec, run, searcher, trials, watch).fit()
        # After a failure nothing more can be written; what is RUNNING in the ledger is resumed as well.
        interrupted = watch.failed is None and (bool(searcher.interrupt()) or watch.stop_all())
    if watch.failed is not None:
        raise StorageFailed(f"{watch.failed}; nothing that was written is lost: go on with `thaw resume {run.root}`")
    board = Leaderboard.from_run(run)
    board.write_csv(run.leaderboard_csv)
    if spec.storage.keep_best is not None and not interrupted:
        remove_weights(run, board, spec.storage.keep_best)
    if not interrupted and not any(entry.rank for entry in board.entries):
        raise SweepFailed(_why_failed(run, ledger.trials()))
    return Outcome(run, board, interrupted)


def _probe_scores(spec: SweepSpec, ledger: Ledger, watch: "_Watch") -> dict[str, float]:
    """The scores of the run's architectures; measured where that is asked for and has not been done."""
    record = ledger.read_run()
    if record.probe or not spec.search.probe:
        return record.probe
    scores = probe_architectures(spec, watch.stop_all)
    if not watch.stop_all():
        ledger.write_run(record.model_copy(update={"probe": scores}))
    return scores


def _tuner(
    spec: SweepSpec, run: RunFolder, searcher: LedgerSearcher, trials: list[TrialResult], watch: "_Watch"
) -> tune.Tuner:
    resources = spec.resources
    fits = ray_runtime.concurrent_trials(resources.cpus_per_worker, resources.gpus_per_worker)
    scheduler: tune.schedulers.TrialScheduler = tune.schedulers.FIFOScheduler()  # type: ignore[no-untyped-call]
    if spec.stopping is not None:
        rungs = Rungs(spec.stopping.asha, max(config.epochs for config in spec.corner_configs()))
        for trial in trials:
            rungs.keeps(trial)
        scheduler = PlanAwareAsha(rungs)
    bundle = {"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker}
    return tune.Tuner(
        tune.with_resources(TrialActor, tune.PlacementGroupFactory([bundle])),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=searcher.remaining,
            # Without an explicit limit a searcher gets one pending trial at a time, and actors start one by one.
            max_concurrent_trials=min(fits, resources.concurrent or fits),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=run.tune.name,
            storage_path=str(run.local),
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
            # A trial writes its own checkpoints: RUN/checkpoints, not Tune's folder, is where they are looked for.
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            stop=watch,
            verbose=0,
        ),
    )


class _Watch(tune.Stopper):
    """Shows that the driver lives, and ends the sweep when a person asks for it, by Ctrl-C or by `thaw stop`.

    It ends the sweep too when what must last can no longer be kept: no trial after that would be worth anything.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.failed: StorageFailed | None = None
        self._beaten = self._polled = 0.0
        self._stop = False
        self._former: Any = None

    def __enter__(self) -> "_Watch":
        self.run.stop_request.unlink(missing_ok=True)
        heartbeat.beat(self.run)
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)
        try:
            self._publish_log()
            self.run.stop_request.unlink(missing_ok=True)
            heartbeat.clear(self.run)
        except StorageFailed as error:
            self.give_up(error)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is ended by its results here."""
        return False

    def stop_all(self) -> bool:
        """Called by Tune in every turn of its loop."""
        now = time.monotonic()
        try:
            if now - self._beaten > BEAT_SECONDS:
                self._beaten = now
                heartbeat.beat(self.run)
                self._publish_log()
            if not self._stop and now - self._polled > POLL_SECONDS:
                self._polled = now
                self._stop = self.run.stop_request.exists()
        except StorageFailed as error:
            self.give_up(error)
        return self._stop

    def give_up(self, error: StorageFailed) -> None:
        """End the sweep for want of storage; the first reason is the one that is told."""
        if self.failed is None:
            log.error("%s", error)
        self.failed = self.failed or error
        self._stop = True

    @contextlib.contextmanager
    def giving_up(self) -> Iterator[None]:
        """Give up on what Tune or Optuna raise for want of storage: what they write can be rebuilt elsewhere."""
        try:
            yield
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, StorageFailed) and not disk_is_full(cause):
                cause = cause.__cause__ or cause.__context__
            if cause is None:
                raise
            self.give_up(cause if isinstance(cause, StorageFailed) else StorageFailed(f"the disk is full: {cause}"))

    def _publish_log(self) -> None:
        if self.run.here(self.run.sweep_log).exists():
            self.run.publish(self.run.sweep_log)

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Ask for a clean end; a second Ctrl-C is the ordinary one."""
        self._stop = True
        self.run.stop_request.touch()
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


def _why_failed(run: RunFolder, trials: list[TrialResult]) -> str:
    reasons = [f"  {trial.trial_id}: {trial.failure.message}" for trial in trials if trial.failure is not None]
    shown = "\n".join(reasons[:5])
    return f"no trial of {run.root} completed; see `thaw logs {run.root} TRIAL`\n{shown}"

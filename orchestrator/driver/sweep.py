"""Sweep: check the inputs, open a session on the cluster, create the run, drive it, conclude it."""

import datetime
import importlib.metadata
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from analysis.comparisons.baseline import Baseline, baseline
from analysis.identity import current_uid, new_uid
from analysis.indexed_ledger import IndexedLedger
from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder, open_run
from analysis.run_store import RunStore, write_atomically
from orchestrator.cluster.joining_nodes import JoiningNodes
from orchestrator.cluster.ray_watch import RayWatch
from orchestrator.cluster.runtime import is_joined
from orchestrator.cluster.session import open_session
from orchestrator.driver.driver_claim import BeatingClaim, check_not_driven, claimed
from orchestrator.driver.lifeline import Lifeline
from orchestrator.driver.node_requirements import make_node_question
from orchestrator.driver.preflight import check_fresh, preflight
from orchestrator.driver.resume_checks import budget_meter, check_resumable
from orchestrator.driver.search_setup import make_searcher
from orchestrator.driver.sweep_events import SweepEvents
from orchestrator.driver.sweep_log import log_to
from orchestrator.results.retention import remove_weights
from orchestrator.search import warm_start
from orchestrator.search.optuna_space import distributions_json
from orchestrator.spec.loading import load_run
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.configured_trackers import make_trackers
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.observer import Observer
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tuner.stopper import SweepStopper
from orchestrator.tuner.tuner import make_tuner
from search_spaces.errors import StorageFailed, SweepFailed, ThawError
from search_spaces.shell import thaw_command
from trainables.data.arrays import Arrays
from trainables.data.summary.class_counts import count_classes
from trainables.data.summary.image_sizes import read_sizes
from trainables.loop.source_files import source_digests
from trainables.result import TrialResult
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place
from trainables.task_catalog import METRICS_VERSION

log = logging.getLogger(__name__)

RECORDED_PACKAGES = ("thaw", "torch", "timm", "accelerate", "ray", "optuna", "wandb")

SIZED_PHOTOS = 200
"""Photos whose size is read for the record of a run: milliseconds."""


@dataclass(frozen=True)
class SweepOutcome:
    """SweepOutcome: end of a sweep."""

    run: RunFolder
    """Run of the sweep."""

    leaderboard: Leaderboard
    """Trials of the run, best first."""

    interrupted: bool
    """True where the sweep was stopped on request; `thaw resume` continues it."""

    ended: str | None = None
    """Budget that ended the sweep, with its figures; None while none has."""

    baseline: Baseline | None = None
    """Winner beside the best linear probe, where the sweep has probes and an end."""


def run_sweep(
    spec: SweepSpec,
    arrays: Arrays | None = None,
    observers: Iterable[Observer] = (),
    address: str | None = None,
    *,
    confirms: str | None = None,
) -> SweepOutcome:
    """Run a new sweep to its end; `arrays` is what `preflight` returned, where that has been called already.

    `confirms` is the group of the run whose finalists are trained again.

    It runs on the Ray cluster at `address` (`auto`, HOST:PORT), or at $RAY_ADDRESS, and without them on this machine.
    Raises InvalidInput before anything is trained or written, also where another process drives a run of this name,
    and SweepFailed when no trial completes.
    """
    root = spec.run_root
    with SweepEvents(spec, root, observers) as events:
        arrays = arrays or preflight(spec)
        lacks_classes = arrays.dataset.lacks_classes("val")
        warm = warm_start.collect_trials(spec.problem, arrays.fingerprints.is_trained, lacks_classes=lacks_classes)
        cache = cache_folder(spec.storage.cache_dir)
        with claimed(root, check_fresh(root), cache) as claim, session_of(spec, claim, arrays, address):
            run = claim.open()
            warm_start.store(run, warm)
            create_run(run, spec, arrays, confirms)
            return drive(spec, claim, arrays, events, address)


def resume_sweep(
    folder: Place,
    observers: Iterable[Observer] = (),
    address: str | None = None,
    on_wait: Callable[[str], None] = lambda _text: None,
) -> SweepOutcome:
    """Continue a run: unfinished trials from their last checkpoints, then the rest of the planned ones.

    `on_wait` gets a sentence before the heartbeat of an earlier driver is watched, for at most 50 seconds. Raises
    InvalidInput when `folder` is no run, another process drives it, its budget is used up, or data or weights are
    missing.
    """
    before = check_not_driven(open_run(folder).root, on_wait)
    run = open_run(folder)
    spec, ledger = load_run(run), Ledger(run)
    with SweepEvents(spec, folder, observers, ledger.trials()) as events:
        arrays = check_resumable(spec, run, ledger.read_run(), folder)
        cache = cache_folder(spec.storage.cache_dir)
        with claimed(folder, before, cache) as claim, session_of(spec, claim, arrays, address):
            return drive(spec, claim, arrays, events, address)


@contextmanager
def session_of(spec: SweepSpec, claim: BeatingClaim, arrays: Arrays, address: str | None) -> Iterator[None]:
    """Open the session in which the trials of a claimed run run; where its Ray dies, that is a problem of the claim."""
    root = claim.named
    folder = RunFolder(root, cache_folder(spec.storage.cache_dir)).local
    question = partial(make_node_question, spec, root, arrays.dataset)
    remedy = f"nothing that was written is lost: continue with `{thaw_command('resume', root)}`"
    with (
        open_session(folder, spec.resources, question, address),
        # A node of a cluster that was joined may die: its trials continue on the others.
        nullcontext() if is_joined(address) else RayWatch(claim.report, remedy),
    ):
        yield


def create_run(run: RunFolder, spec: SweepSpec, arrays: Arrays, confirms: str | None = None) -> None:
    """Write the resolved sweep file and the record of a new run."""
    write_atomically(run.sweep_yaml, spec.to_yaml())
    splits, counts = arrays.dataset.distinct_splits, count_classes(arrays.dataset).splits
    Ledger(run).write_run(
        RunRecord(
            name=spec.name,
            uid=new_uid(),
            confirms=confirms,
            objective=spec.objective,
            created=datetime.datetime.now(datetime.UTC),
            classes=arrays.classes,
            fingerprint=arrays.fingerprints.trained,
            skipped_images={split: dict(images) for split, images in arrays.dataset.skipped.items()},
            data_remarks=tuple(filter(None, (arrays.duplicates, arrays.near))),
            sample_counts={split: len(samples) for split, samples in splits.items()},
            class_counts={split: counts[split] for split in splits},
            photo_sizes=_photo_sizes(arrays),
            metrics_version=METRICS_VERSION,
            versions={name: importlib.metadata.version(name) for name in RECORDED_PACKAGES},
            **space_record(spec),
        )
    )


def _photo_sizes(arrays: Arrays) -> dict[str, tuple[float, ...]]:
    sizes = read_sizes(arrays.dataset, most=SIZED_PHOTOS)
    return {} if sizes is None else {"width": tuple(sizes.width), "height": tuple(sizes.height)}


def space_record(spec: SweepSpec) -> dict[str, Any]:
    """Return the fields of the run's record that come from the sweep file, which an extension changes."""
    return {
        "sources": source_digests(spec.corner_configs()),
        "space": spec.space,
        "distributions": distributions_json(spec.search_space),
        "trials_planned": spec.search.trials,
    }


def drive(
    spec: SweepSpec, claim: BeatingClaim, arrays: Arrays, events: SweepEvents, address: str | None = None
) -> SweepOutcome:
    """Run the rest of a claimed run to its end. Raises SweepFailed when it has no completed trial then."""
    run = claim.open()
    ledger = Ledger(run)
    known = ledger.trials()
    # A crash between the two files of an extension leaves the record behind.
    ledger.update_run(**space_record(spec), ended=None, uid=current_uid(run))
    meter = budget_meter(spec, ledger.read_run(), known)
    stopper = SweepStopper(run, meter, events.on_closing)
    run.local.mkdir(parents=True, exist_ok=True)
    interrupted = False
    claim.watch(stopper.give_up)
    with (
        Lifeline(ledger, stopper),
        log_to(RunStore(run).fetch(run.sweep_log)),
        Dispatcher(make_trackers(spec.tracking), SweepIdentity.of(run), run, known, events.on_problem) as trackers,
        _joining_nodes(spec, run, arrays, address) as stopper.joining_nodes,
        stopper.giving_up(),
    ):
        events.start(known, meter, trackers)
        interrupted = _run_trials(spec, ledger, stopper, events, address)
        if stopper.failed is None:
            trackers.publish(lambda: SweepSummary.from_run(run))
    outcome = _conclude(spec, replace(run, root=claim.named), stopper, interrupted=interrupted)
    events.close(interrupted=interrupted, ended=stopper.ended)
    return outcome


def _joining_nodes(
    spec: SweepSpec, run: RunFolder, arrays: Arrays, address: str | None
) -> AbstractContextManager[JoiningNodes | None]:
    """Return the checks of the nodes that join; None where the sweep has a machine of its own."""
    if not is_joined(address):
        return nullcontext()
    return closing(JoiningNodes(make_node_question(spec, run.root, arrays.dataset), run.run_json.name))


def _run_trials(
    spec: SweepSpec, ledger: Ledger, stopper: SweepStopper, events: SweepEvents, address: str | None
) -> bool:
    """Run the trials that are left; return whether the sweep was stopped before they were done."""
    for layer in ledger.run.layers():
        shutil.rmtree(layer.tune, ignore_errors=True)
        layer.study_log.unlink(missing_ok=True)
    searcher, asha = make_searcher(spec, ledger, stopper, events.on_trial, events.warn)
    remaining = searcher.proposals.remaining
    log.info("%s: %d trials to go", spec.name, remaining)
    if remaining:
        make_tuner(ledger.run, spec.resources, searcher, asha, stopper, follow_nodes=is_joined(address)).fit()
    if stopper.failed is not None:
        return False  # nothing more can be written: trials that are RUNNING in the ledger are resumed as well
    return bool(searcher.states.interrupt()) or (stopper.is_stopped and searcher.proposals.remaining > 0)


def _conclude(spec: SweepSpec, run: RunFolder, stopper: SweepStopper, *, interrupted: bool) -> SweepOutcome:
    """Write the leaderboard, delete weights that are not kept, and raise the error of the sweep as a whole, if any."""
    if isinstance(stopper.failed, StorageFailed):
        raise StorageFailed(
            f"{stopper.failed}; nothing that was written is lost: go on with `{thaw_command('resume', run.root)}`"
        )
    if stopper.failed is not None:
        raise stopper.failed
    board = Leaderboard.from_run(run)
    board.write_csv(run.leaderboard_csv)
    IndexedLedger(run).trials()  # a run of many trials gets its index before it is first read
    if stopper.complaint is not None:
        raise ThawError(
            f"{stopper.complaint}\nThe sweep has stopped. Mend or remove the node, and go on: "
            f"{thaw_command('resume', run.root)}"
        )
    if spec.storage.keep_best is not None and not interrupted:
        remove_weights(run, board, spec.storage.keep_best)
    if not interrupted and not any(entry.rank for entry in board.entries):
        raise SweepFailed(_why_failed(run, Ledger(run).trials(), stopper.ended))
    against = None if interrupted else baseline(run, board)
    return SweepOutcome(run, board, interrupted, stopper.ended, against)


def _why_failed(run: RunFolder, trials: list[TrialResult], ended: str | None) -> str:
    if ended is not None:
        return (
            f"no trial of {run.root} completed, {ended}; "
            f"go on with `{thaw_command('extend', run.root)} --set {ended.partition(':')[0]}=...`"
        )
    reasons = [f"  {trial.trial_id}: {trial.failure.message}" for trial in trials if trial.failure is not None]
    shown = "\n".join(reasons[:5])
    return f"no trial of {run.root} completed; see `{thaw_command('logs', run.root)} TRIAL`\n{shown}"

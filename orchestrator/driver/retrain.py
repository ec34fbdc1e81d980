"""Retraining: the winner's configuration trained again and measured once on the test split."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from analysis.comparisons.confirmation import confirmed_winner
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from analysis.run_store import RunStore, write_atomically
from analysis.winner import RETRAIN_JSON
from orchestrator.driver.winner_training import open_training
from orchestrator.spec.loading import load_run
from orchestrator.spec.sections import cache_budget
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.configured_trackers import check_trackers, make_trackers
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.observer import TrackerProblem
from orchestrator.tracking.summary import SweepSummary, TrialFiles
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracker import TrialContext
from orchestrator.tuner.trial_states import status_of
from orchestrator.worker.assignment import EndKind
from orchestrator.worker.retraining import Retraining, discard_retraining
from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, decode_rest, load_arrays
from trainables.data.readers import Dataset, open_configured
from trainables.data_config import DataConfig, TrainedOn
from trainables.loop.checkpoint import make_whole
from trainables.loop.source_files import check_sources
from trainables.result import EpochReport, TrialResult
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place
from trainables.task.evaluation import Evaluation

_NAME: Literal["retrain"] = "retrain"


@dataclass(frozen=True)
class RetrainedWinner:
    """RetrainedWinner: the winner, trained again."""

    trial: TrialResult
    """Trial whose configuration was used."""

    checkpoint: Place
    """Checkpoint of its best epoch, with the whole model."""

    test: Evaluation | None
    """Evaluation on the test split, for the first time in this run; None with folds and no such split."""

    on: TrainedOn
    """Images that it was trained on; those of val where they are among them say nothing of new ones."""


def retrain_winner(
    folder: Place,
    on_epoch: Callable[[EpochReport], None] = lambda _report: None,
    on_problem: Callable[[TrackerProblem], None] | None = None,
    chosen: TrialResult | None = None,
    on: TrainedOn | None = None,
    *,
    is_first: bool = False,
    address: str | None = None,
) -> RetrainedWinner:
    """Train the winner's configuration again and measure it once on the test split, see `open_training` for where.

    On train+val it is trained to the epoch that was best for the trial, as val can choose none; with folds always so.
    They need no test split. A trial that is `chosen` takes the winner's place, here and in all that follows; where this
    training `is_first`, of a configuration file, it becomes that of the trial. Writes RUN/winner. `on_problem` is
    called with each problem of a tracker, from any thread; without it they are logged. Raises InvalidInput when the run
    has no completed trial, the data set no test split, a tracker needs a package that is not installed, or a node of
    the cluster at `address` is not ready.
    """
    run = open_run(folder)
    winner = confirmed_winner(run) if chosen is None else chosen
    spec = load_run(run)
    check_trackers(spec.tracking)
    assignment = _assignment(run, spec, winner, _retrained_config(winner, _images_for(winner, on)))
    arrays = _check_inputs(run, winner.config, assignment)
    with (
        open_training(spec, run, arrays.dataset, address) as training,
        Dispatcher(make_trackers(spec.tracking), _next_attempt(run), run, on_problem=on_problem) as dispatcher,
    ):
        discard_retraining(assignment)
        dispatcher.start(_context(run, assignment))
        reports: list[EpochReport] = []
        try:
            for report in training.epochs(assignment):
                dispatcher.log(_NAME, report)
                reports.append(report)
                on_epoch(report)
            test = training.measure(assignment, "test") if "test" in arrays.splits else None
        except Exception:
            dispatcher.finish(_NAME, status_of(EndKind.FAILED), {})
            raise
        made = _made(winner, assignment.trial.config, reports)
        _write_record(assignment.here, made, test, is_chosen=chosen is not None)
        _replace_winner(run, assignment)
        if is_first:
            Ledger(run).write_trial(made.model_copy(update={"config": winner.config}))
        dispatcher.finish(_NAME, made.status, _test_values(test))
        dispatcher.publish(lambda: SweepSummary.from_run(run))
    return RetrainedWinner(winner, run.winner / "checkpoints" / "best", test, assignment.trial.config.data.train_on)


def _assignment(run: RunFolder, spec: SweepSpec, winner: TrialResult, config: TrialConfig) -> Retraining:
    """Return the training of `config`: to the end; on val too, to the epoch that was best, as val can choose none."""
    record, with_val = Ledger(run).read_run(), config.data.train_on is TrainedOn.TRAIN_AND_VAL
    return Retraining(
        trial=TrialResult(trial_id=_NAME, config=config, parameters=winner.parameters),
        run=run.root.absolute() if isinstance(run.root, Path) else run.root,  # workers have another current folder
        generations=run.generations,
        cache=cache_folder(spec.storage.cache_dir),
        cache_budget=cache_budget(spec.storage.cache_budget),
        resources=spec.resources,
        metrics_version=record.metrics_version,
        fingerprint=None if with_val else record.fingerprint,  # train and val together have another one
        sources=record.sources,
        last_epoch=winner.best.epoch if with_val and winner.best is not None else None,
    )


def _context(run: RunFolder, assignment: Retraining) -> TrialContext:
    """Return what a tracker gets of the training; its files are read at its end, and by then in their place."""
    identity, trial = SweepIdentity.of(run), assignment.trial
    files = TrialFiles(run.winner / assignment.folders.predictions.name, run.winner / "checkpoints" / "best")
    return TrialContext(identity, run, _NAME, _NAME, trial.config, trial.parameters, files=files)


def _test_values(test: Evaluation | None) -> dict[str, float]:
    return {} if test is None else {f"test/{name}": value for name, value in test.scalars().items()}


def _images_for(winner: TrialResult, on: TrainedOn | None) -> TrainedOn:
    """Return the images to train on. Raises InvalidInput for train alone where a trial has folds."""
    folds = winner.config.data.folds
    if folds is None:
        return on or TrainedOn.TRAIN
    if on is TrainedOn.TRAIN:
        raise InvalidInput(
            f"--on: must be train+val for a trial of {folds} folds, which have no val to leave out, got train; remove "
            "it"
        )
    return TrainedOn.TRAIN_AND_VAL


def _made(winner: TrialResult, config: TrialConfig, reports: Sequence[EpochReport]) -> TrialResult:
    """Return the trial as it was trained now."""
    done = {"status": status_of(EndKind.COMPLETED), "config": config, "reports": tuple(reports)}
    return winner.model_copy(update=done)


def _write_record(folder: Path, made: TrialResult, test: Evaluation | None, *, is_chosen: bool) -> None:
    """Write what the retraining `made`, with the measurement on the test split."""
    asked = {"trial_id": made.trial_id, "is_chosen": is_chosen, "on": made.config.data.train_on}
    reports = [each.model_dump() for each in made.reports]
    done = {"status": made.status.value, "config": made.config.to_json(), "reports": reports}
    measured = None if test is None else test.to_json()
    write_atomically(folder / RETRAIN_JSON, json.dumps({**asked, "test": measured, **done}, indent=1))


def _check_inputs(run: RunFolder, config: TrialConfig, assignment: Retraining) -> Arrays:
    """Return the images of the search.

    Raises InvalidInput for images that cannot be read, for images, weights and teacher that are not those of the run,
    and without a test split that is needed.

    Before the training, and not after it. Where photos are divided, one that is added can move others from train to
    test: a winner that was chosen with them would be measured on them.
    """
    data, record = config.data, Ledger(run).read_run()
    check_test_split(open_configured(data, assignment.cache), data)
    check_sources([config], record.sources)
    arrays = load_arrays(data, assignment.cache, None, budget=assignment.cache_budget)
    if not arrays.fingerprints.is_trained(record.fingerprint):
        raise InvalidInput(
            f"{data.root}: retraining takes the images that the search had, but train or val has changed since: "
            "the winner was chosen on other images; restore them, or launch a new sweep"
        )
    decode_rest(arrays)
    return arrays


def check_test_split(dataset: Dataset, data: DataConfig) -> None:
    """Raise InvalidInput where there is no split test, with which a retraining ends.

    With folds it may be lacking: each image was measured once by a head that had not seen it.
    """
    if "test" in dataset.splits or data.folds is not None:
        return
    if data.test == "none":
        remedy = "set data.test: auto, and begin again"
    elif data.split is not None:
        remedy = "begin again with a share for it: data.split.test"
    else:
        remedy = "add a folder test/" if data.manifest is None else f"add rows of test to {data.manifest}"
    raise InvalidInput(f"{data.root}: retraining ends with the test split, but there is none; {remedy}")


def _retrained_config(winner: TrialResult, on: TrainedOn) -> TrialConfig:
    """Return the configuration of the retraining. Raises InvalidInput where it cannot be trained on these images."""
    config = winner.config
    if on is TrainedOn.TRAIN_AND_VAL and (config.scheduler == "plateau" or winner.best is None):
        rule = f"--on train+val: trial {winner.trial_id} must"
        if winner.best is None:
            raise InvalidInput(f"{rule} have a best epoch, but was never trained; leave out --on first")
        raise InvalidInput(
            f"{rule} be trained without a look at val, got the scheduler plateau, which follows val; leave out --on, "
            "or take another trial"
        )
    changes: dict[str, Any] = {"data": config.data.model_copy(update={"train_on": on})}
    if on is TrainedOn.TRAIN_AND_VAL:
        changes["patience"] = None
    # Every epoch uses new views of each image: fixed views are for the search.
    return config.model_copy(update={"feature_views": 0, **changes})


def _next_attempt(run: RunFolder) -> SweepIdentity:
    """Record that the winner is trained once more: what a service holds of the training before cannot be changed."""
    known = SweepIdentity.of(run).attempts
    Ledger(run).update_run(attempts={**known, "retrain": known.get("retrain", 0) + 1})
    return SweepIdentity.of(run)


def _replace_winner(run: RunFolder, assignment: Retraining) -> None:
    """Put the new folder in place of RUN/winner; its model is whole, as users take it from there."""
    folders = assignment.folders
    make_whole(folders.best)
    made = run.here(run.winner)
    told, best = run.winner / RETRAIN_JSON, run.winner / "checkpoints" / "best"
    told.unlink(missing_ok=True)  # first: it names the trial of the other files
    shutil.rmtree(made, ignore_errors=True)
    assignment.here.rename(made)
    store = RunStore(run)
    for place in (best, run.winner / folders.predictions.name, told):
        store.publish(place)
    store.release(run.winner)
    discard_retraining(assignment)

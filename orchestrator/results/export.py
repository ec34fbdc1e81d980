"""Export of the winner, retrained or as trained in the sweep, and of any other trial."""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, open_run
from analysis.run_store import RunStore, write_atomically
from analysis.selection import best_completed
from analysis.winner import ensemble_name, retrain_record, retraining_digest, run_winner, weights_origin
from orchestrator.results.card import CardFacts, model_card
from orchestrator.results.retention import trial_weights
from orchestrator.spec.loading import load_run
from orchestrator.spec.sections import cache_budget
from orchestrator.tracking.configured_trackers import publish_summary
from orchestrator.tracking.observer import TrackerProblem
from search_spaces.errors import InvalidInput
from search_spaces.shell import thaw_command
from trainables.bundle.export import ExportBundle
from trainables.bundle.onnx_file import write_metadata
from trainables.bundle.pixels_export import PixelsReport, export_pixels
from trainables.bundle.variant import CARD_FILE, DERIVED_FILES, RECORD_FILE, Variant
from trainables.bundle.variants import JudgedImages, VariantReport, export_variants
from trainables.bundle.web_page import check_page_size, write_web_page
from trainables.bundle.web_runtime import web_runtime
from trainables.checkpoint_state import CheckpointState
from trainables.data.fingerprint import examine_content
from trainables.data.preprocess import Preprocessing
from trainables.data.readers import Dataset, open_configured
from trainables.data_config import TrainedOn
from trainables.loop.checkpoint import load_trained
from trainables.loop.ensemble import load_ensemble
from trainables.loop.evaluate_checkpoints import evaluate_checkpoints
from trainables.result import TrialResult
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place
from trainables.task.task import Task, load_task


@dataclass(frozen=True)
class Exported:
    """An exported trial."""

    bundle: ExportBundle
    """The bundle on this machine."""

    origin: str
    """Phrase that names the source of the weights."""

    variants: tuple[VariantReport, ...]
    """Variants that were asked for, kept or not."""

    pixels: PixelsReport | None
    """Agreement of the model with its preprocessing; None where it was not asked for."""

    page: Path | None
    """Page that classifies photos, on this machine; None where it was not asked for."""

    on: TrainedOn = TrainedOn.TRAIN
    """Images that the model was trained on."""

    removed: tuple[str, ...] = ()
    """Names of files made of the model before, which are gone: variants, and its measurements."""


@dataclass(frozen=True)
class WantedVariants:
    """Variants to be made of the exported model."""

    names: tuple[Variant, ...] = ()
    """Which ones."""

    max_drop: float = 0.02
    """Largest accepted loss of the task's metric."""

    with_preprocessing: bool = False
    """True where a model that takes pixels of any size is made as well, as for a page."""

    @property
    def judged(self) -> tuple[Variant, ...]:
        """Those that may lose too much."""
        return tuple(name for name in self.names if name is not Variant.WEB)


@dataclass(frozen=True)
class _Source:
    """Source of an export: a trained model, and what is known of it."""

    trials: tuple[TrialResult, ...]
    """Trial, or those that vote, the best first."""

    origin: str
    """Phrase that names the source of the weights."""

    model: nn.Module
    """The model on the CPU, in eval mode."""

    state: CheckpointState
    """State of its checkpoint, or of that of the best trial."""

    validation: Mapping[str, float]
    """Metrics on the validation images, without the prefix `val/`."""

    retraining: str | None = None
    """Digest of the winner's retraining; None without one."""


def export_winner(
    folder: Place,
    on_problem: Callable[[TrackerProblem], None] | None = None,
    wanted: WantedVariants = WantedVariants(),
) -> Exported:
    """Export the winner to RUN/export: the retrained model where there is one, else the trial's own checkpoint.

    `on_problem` is called with each problem of a tracker, from any thread; without it they are logged. Raises
    ExportRefused when the ONNX model does not predict the same as the PyTorch model on the validation images, and for a
    task without an export.
    """
    run = open_run(folder)
    winner = run_winner(run)
    tracking = load_run(run).tracking
    source = _one(winner, winner_weights(run, winner), weights_origin(run, winner))
    source = replace(source, retraining=retraining_digest(run, winner))
    exported = _export(run, run.export, source, wanted)
    publish_summary(run, tracking, on_problem)
    return exported


def export_trial(run: RunFolder, trial: TrialResult, wanted: WantedVariants) -> Exported:
    """Export a trial, as trained in the sweep, to its folder below RUN/exports. Raises as `export_winner` does."""
    origin = f"trial {trial.trial_id}, as trained in the sweep"
    return _export(run, run.exported(trial.trial_id), _one(trial, trial_weights(run, trial), origin), wanted)


def export_ensemble(run: RunFolder, count: int, wanted: WantedVariants) -> Exported:
    """Export the vote of the best `count` COMPLETED trials, as trained in the sweep, to its folder below RUN/exports.

    Raises as `export_winner` does, and InvalidInput where there are fewer, or they see other pixels.
    """
    trials = best_completed(run, count)
    storage = load_run(run).storage
    cache, budget = cache_folder(storage.cache_dir), cache_budget(storage.cache_budget)
    with ExitStack() as stack:
        checkpoints = [stack.enter_context(trial_weights(run, trial)) for trial in trials]
        model, state = load_ensemble(checkpoints)
        measured = evaluate_checkpoints(checkpoints, "val", cache, budget=budget)
    origin = f"soft vote of the trials {', '.join(trial.trial_id for trial in trials)}"
    source = _Source(tuple(trials), origin, model, state, measured.metrics)
    return _export(run, run.exported(ensemble_name(count)), source, wanted)


def _one(trial: TrialResult, weights: AbstractContextManager[Path], origin: str) -> _Source:
    with weights as checkpoint:
        model, state = load_trained(checkpoint)
    metrics = {} if trial.best is None else trial.best.metrics
    validation = {name.removeprefix("val/"): value for name, value in metrics.items()}
    return _Source((trial,), origin, model, state, validation)


def winner_weights(run: RunFolder, winner: TrialResult) -> AbstractContextManager[Path]:
    """Return the winner's checkpoint on this machine, retrained if that was done."""
    if retrain_record(run, winner) is not None:
        return RunStore(run).reading(run.winner / "checkpoints" / "best")
    return trial_weights(run, winner, is_winner=True)


def _trained_on(state: CheckpointState, cache: Path) -> Dataset:
    """Open the images of a checkpoint. Raises InvalidInput where they have changed: val may hold trained ones now."""
    data = state.config.data
    content = examine_content(open_configured(data, cache), cache, data.on_bad_image, data.max_pixels)
    if not content.fingerprints.is_trained(state.fingerprint):
        raise InvalidInput(
            f"{data.root}: an export is proven on the images that the model was trained with, but train or val has "
            "changed since; restore them, or train again"
        )
    return content.dataset


def _export(run: RunFolder, place: Place, source: _Source, wanted: WantedVariants) -> Exported:
    model, state = source.model, source.state
    data = state.config.data
    cache = cache_folder(load_run(run).storage.cache_dir)
    runtime = None
    if Variant.WEB in wanted.names:  # before anything is replaced
        check_page_size(model)
        runtime = web_runtime(cache)
    dataset = _trained_on(state, cache)
    for draft in run.here(place).glob(".export-*"):  # of an export that was killed
        shutil.rmtree(draft, ignore_errors=True)
    task, trained_on_val = load_task(state.config.task), data.train_on is TrainedOn.TRAIN_AND_VAL
    if trained_on_val and wanted.judged:
        raise InvalidInput(
            f"--variant: is judged on images that were not trained on, got a model trained on {data.train_on}; "
            f"export it without, or retrain on train: {thaw_command('retrain', run.root)}"
        )
    made_before = [name for name in DERIVED_FILES if RunStore(run).has(place / name)]
    bundle = task.export(
        model,
        labels=state.classes,
        preprocessing=Preprocessing(data.image_size, data.resize_mode, state.mean, state.std, data.max_pixels),
        config=_portable(state.config.to_json()),
        fingerprint=state.fingerprint,
        images=((sample.path, dataset.read(sample)) for sample in dataset.splits["val"]),
        folder=run.here(place),
        # Images that were trained on say nothing of the probabilities of others.
        targets=None if trained_on_val else dataset.labels("val"),
    )
    record = Ledger(run).read_run()
    skipped = {split: len(images) for split, images in record.skipped_images.items()}
    # Counts alone: names of photos stay at home.
    more: dict[str, Any] = {"thaw.skipped_images": skipped} if skipped else {}
    if len(source.trials) > 1:
        more["thaw.ensemble"] = [
            {"trial_id": each.trial_id, "architecture": each.config.architecture} for each in source.trials
        ]
    if more:
        write_metadata(bundle.model, more)
    variants = _variants(task, model, bundle, dataset, wanted) if wanted.judged else ()
    pixels = None
    if wanted.with_preprocessing or runtime is not None:
        pixels = export_pixels(model, bundle, ((each.path, dataset.read(each)) for each in dataset.splits["val"]))
    facts = CardFacts(run, record, source.trials, source.origin, bundle, variants, dataset, source.validation)
    page = None if runtime is None else write_web_page(bundle, record.name, facts.architecture, runtime)
    write_atomically(run.here(place) / CARD_FILE, model_card(facts))
    write_atomically(run.here(place) / RECORD_FILE, _record(source, bundle))
    _publish(RunStore(run), place, bundle.model)
    removed = tuple(name for name in made_before if not RunStore(run).has(place / name))
    return Exported(bundle, source.origin, variants, pixels, page, data.train_on, removed)


def _record(source: _Source, bundle: ExportBundle) -> str:
    """Return the record of an export: its trial, the source of its weights, and its calibration."""
    told = {"trial_id": source.trials[0].trial_id, "origin": source.origin, "retraining": source.retraining}
    return json.dumps({**told, "calibration": bundle.calibration})


def _variants(
    task: Task, model: Any, bundle: ExportBundle, dataset: Dataset, wanted: WantedVariants
) -> tuple[VariantReport, ...]:
    images = JudgedImages(
        photos=((sample.path, dataset.read(sample)) for sample in dataset.splits["val"]),
        targets=task.targets(dataset, "val"),
        train=[(sample.path, partial(dataset.read, sample)) for sample in dataset.splits["train"]],
        train_targets=task.targets(dataset, "train"),
        judge=task.judge,
    )
    return export_variants(model, bundle, wanted.judged, images, wanted.max_drop)


def _publish(store: RunStore, place: Place, model: Path) -> None:
    """Put the files of an export where the run is kept, the model last: it alone makes the export complete."""
    names = {file.name for file in model.parent.iterdir()}
    for stale in {*DERIVED_FILES} - names:
        store.remove(place / stale)
    for name in sorted(names, key=model.name.__eq__):
        store.publish(place / name)


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration without the folders of this machine, for a file that is copied to other machines."""
    data = {key: value for key, value in config["data"].items() if key not in ("root", "manifest", "weights_dir")}
    files: dict[str, Any] = {name: Path(config[name]).name for name in ("weights", "teacher") if name in config}
    return {**config, "data": data, **files}

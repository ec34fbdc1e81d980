"""Preflight: checks before the first trial of data, weights, architectures and stages."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from analysis import heartbeat
from analysis.heartbeat import Heartbeat
from analysis.run_folder import HEARTBEAT, LAUNCH_FILE
from orchestrator.driver.driver_claim import check_not_driven, driven
from orchestrator.search import warm_start
from orchestrator.spec.sections import cache_budget
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.configured_trackers import check_trackers
from search_spaces.errors import InvalidInput, StorageFailed
from search_spaces.permissions import check_folder
from search_spaces.shell import thaw_command
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, Progress, decode_rest, load_arrays
from trainables.data_config import DataConfig
from trainables.estimate.order_check import check_order
from trainables.loop.probe_head import check_linear_head
from trainables.loop.teacher import foreign_teacher_remark, open_teacher, teacher_file
from trainables.model.batch_norm import check_batch_norm
from trainables.model.freeze_plan import freeze_plan
from trainables.model.stages import stage_table
from trainables.model.weights import weights_file, weights_path
from trainables.storage.bucket import BucketPath
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place, check_writable
from trainables.task.task import load_task


def preflight(spec: SweepSpec, on_progress: Progress | None = None) -> Arrays:
    """Check what a new sweep needs: a free run folder, the runs it learns from, and the checks of `check_inputs`.

    Returns the images. Raises InvalidInput for the first fault that would affect every trial.
    """
    check_fresh(spec.run_root)
    warm_start.records(spec.problem)
    # A bad image of test would otherwise end `retrain` and `evaluate`, after all the training.
    return check_inputs(spec, on_progress, splits=None, is_new=True)


def check_inputs(
    spec: SweepSpec,
    on_progress: Progress | None = None,
    splits: Sequence[str] | None = ("train", "val"),
    *,
    is_new: bool = False,
) -> Arrays:
    """Open and decode the data, build every model of the space once with its weights, and try every plan on it.

    Decoded are `splits`, None: all that the data set has. The packages of the trackers are checked first. Weights that
    are matched by order are measured with a linear probe. A sweep `is_new` unless its run has begun before: equal files
    that `data.allow` does not name are refused then.
    """
    cache, budget = cache_folder(spec.storage.cache_dir), cache_budget(spec.storage.cache_budget)
    check_trackers(spec.tracking)
    check_folder("storage.cache_dir", cache)
    _check_reachable(spec.data)
    arrays = load_arrays(spec.data, cache, splits, on_progress, budget)
    if is_new:
        _check_duplicates(spec.data, arrays)
    decode_rest(arrays, on_progress)
    _fetch_weights(spec.corner_configs(), on_progress)
    by_model: dict[tuple[str, Place | None, str, str], list[TrialConfig]] = {}
    for config in spec.corner_configs():
        model = (config.architecture, weights_path(config), config.weights, config.weights_layout)
        by_model.setdefault(model, []).append(config)
    for configs in by_model.values():
        check_plans(configs, arrays.classes, len(arrays.splits["train"]), spec.resources.workers)
    remarks = _teacher_remarks(spec, arrays)
    for configs in by_model.values():
        check_order(configs[0], cache, budget)
    return replace(arrays, remarks=(*arrays.remarks, *remarks))


def _check_duplicates(data: DataConfig, arrays: Arrays) -> None:
    """Raise InvalidInput where equal files lie in two splits or under two labels, and are not allowed."""
    if arrays.duplicates is None or "duplicates" in data.allow:
        return
    source = data.manifest or data.root
    raise InvalidInput(
        f"{source}: no image may lie in two splits or under two labels, got: {arrays.duplicates}. Look at them with "
        f"`{thaw_command('data', 'check', source)}` and remove them, or set `data.allow: [duplicates]`"
    )


def _check_reachable(data: DataConfig) -> None:
    """Raise InvalidInput where photos or weights lie in a bucket that cannot be used: nothing has been done yet."""
    for key in ("root", "manifest", "weights_dir"):
        try:
            if isinstance(place := getattr(data, key), BucketPath):
                place.exists()
        except StorageFailed as error:
            raise InvalidInput(f"data.{key}: {error}") from error


def _fetch_weights(configs: Iterable[TrialConfig], on_progress: Progress | None) -> None:
    """Fetch the weights that lie in a bucket, before the first model is built; raises InvalidInput without a file."""
    places = {path for config in configs if isinstance(path := weights_path(config), BucketPath)}
    for done, place in enumerate(sorted(places, key=str), start=1):
        weights_file(place)
        if on_progress is not None:
            on_progress(done, len(places))


def _teacher_remarks(spec: SweepSpec, arrays: Arrays) -> list[str]:
    """Open every teacher of the sweep; return a remark on each that may know images of val."""
    files = sorted({file for config in spec.corner_configs() if (file := teacher_file(config)) is not None})
    teachers = ((file, open_teacher(file, arrays.classes)) for file in files)
    remarks = (foreign_teacher_remark(file, teacher, arrays.fingerprints) for file, teacher in teachers)
    return [remark for remark in remarks if remark is not None]


def check_plans(configs: list[TrialConfig], classes: Sequence[str], images: int, workers: int) -> None:
    """Build the model that `configs` share, and check that each of their freeze plans, and head starts, fits it.

    No step of `workers` on a training split of so many images may normalize a single value.
    """
    model = load_task(configs[0].task).build(configs[0], classes)
    stages = stage_table(model)
    for config in configs:
        if config.head_init == "probe":
            check_linear_head(model, config.architecture)
        if config.data.folds is not None:
            check_linear_head(model, config.architecture, "data.folds", "remove data.folds")
        for thawed in freeze_plan(config).boundaries.values():
            try:
                stages.trainable(thawed)
            except InvalidInput as error:
                raise InvalidInput(f"{config.architecture}: {error}") from None
        check_batch_norm(model, config, images, workers)


def check_fresh(root: Place) -> Heartbeat | None:
    """Return the newest driver of a run folder that is new: None, or one that was killed before it wrote run.json.

    Raises InvalidInput when the folder is already taken, or lies in a bucket that cannot be written.
    """
    try:
        if isinstance(root, BucketPath):
            check_writable(root.parent)
        else:
            check_folder("storage.root", root.absolute().parent)
        if root.exists() and not root.is_dir():
            raise InvalidInput(f"run folder must be new, got {root}, which is a file; choose another name with --name")
        found = [child.name for child in root.iterdir()] if root.exists() else []
        if found and heartbeat.is_alive(root):
            raise InvalidInput(driven(root, heartbeat.read(root)))
        is_launched = any(map(HEARTBEAT.fullmatch, found))  # else a sweep file in the folder is the user's
        if not all(LAUNCH_FILE.fullmatch(name) and (is_launched or name.startswith(".driver")) for name in found):
            raise InvalidInput(
                f"run folder must be new, got {root}, which is not empty; "
                f"go on with `{thaw_command('resume', root)}`, or choose another name with --name"
            )
        return check_not_driven(root)
    except StorageFailed as error:  # nothing has been done yet
        raise InvalidInput(str(error)) from error

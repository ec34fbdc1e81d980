"""Loading: the sweep file is read, resolved and checked as a whole before anything runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from orchestrator.spec.file_kinds import trial_settings
from orchestrator.spec.overrides import apply_override
from orchestrator.spec.sections import Storage
from orchestrator.spec.sweep_spec import SHARED, TIED, SweepSpec, check_run_name
from search_spaces.documents import read_mapping
from search_spaces.errors import InvalidInput, closest, shown
from search_spaces.shell import thaw_command
from search_spaces.space import SearchSpace
from search_spaces.validation import parse
from trainables.config import TrialConfig
from trainables.data.sources.bucket_file import use_cache
from trainables.storage.folders import cache_folder
from trainables.task_catalog import unread_settings

# Settings of a trial that decide its batches, beside its data; and those that a configuration must have.
_DATA_SETTINGS = ("seed", "batch_size", "class_weighting", "mixing_alpha")
_STAND_INS: Mapping[str, Any] = {"architecture": "any", "strategy": "head", "epochs": 1, "lr": 1.0}


def load(path: Path | str, overrides: Sequence[str] = (), name: str | None = None) -> SweepSpec:
    """Read a sweep file, apply `a.b=c` overrides and a name, resolve relative paths against the file, check it whole.

    Raises InvalidInput for every error that can be found without reading the data.
    """
    path, raw = Path(path), _raw_sweep(Path(path), overrides, name)
    _choose_layout(raw)
    state_division(raw)
    return resolve(raw, path.resolve().parent, str(path))


def _raw_sweep(path: Path, overrides: Sequence[str] = (), name: str | None = None) -> dict[str, Any]:
    """Return the sections of a sweep file, with overrides and a name."""
    raw = read_mapping(path)
    for override in overrides:
        apply_override(raw, override)
    if settings := trial_settings(raw):
        raise InvalidInput(
            f"{path}: must be a sweep file, with `space` and the like, got a trial's file with `{settings[0]}` at the "
            f"top; run it with `{thaw_command('trial', path)}`"
        )
    if name is not None:
        raw["name"] = name
    if "name" not in raw:
        raw["name"] = name_of_file(path)
    return raw


def resolve(raw: dict[str, Any], base: Path, source: str) -> SweepSpec:
    """Return the sweep in `raw`, its paths relative to `base`, checked whole; `source` names it in messages."""
    # Without a section its default would not be validated, and `runs` would not be a folder of the base.
    spec = parse(SweepSpec, {**raw, "storage": raw.get("storage", {})}, source, base=base)
    _check(spec, source)
    use_cache(spec.data, cache_folder(spec.storage.cache_dir))
    return spec


def _choose_layout(raw: dict[str, Any]) -> None:
    """Set the layout of models that is faster on CPUs, unless the sweep uses GPUs or has set it.

    Measured for nine models at two sizes: `benchmarks/results.md`. A run keeps what its own file says.
    """
    trial, space, resources = (raw.setdefault(key, {}) for key in ("trial", "space", "resources"))
    sections = (trial, space, resources)
    if not all(isinstance(section, dict) for section in sections) or resources.get("gpus_per_worker"):
        return
    if "channels_last" not in space:
        trial.setdefault("channels_last", True)


def state_division(raw: dict[str, Any], together: str = "near_duplicates") -> None:
    """State which images a division keeps together, where the file says nothing of it.

    A run keeps what its own file says, and without it the division with which it began.
    """
    data = raw.get("data")
    if isinstance(data, dict) and isinstance(data.get("split"), dict):
        data["split"].setdefault("together", together)


def name_of_file(path: Path) -> str:
    """Return the name of the run of a sweep file without `name`. Raises InvalidInput where it cannot name one."""
    try:
        return str(check_run_name(path.stem))
    except ValueError as error:
        raise InvalidInput(f"{path}: name: without one, that of the file names the run, which {error}") from None


def load_run(run: RunFolder) -> SweepSpec:
    """Return the resolved sweep of a run. Raises InvalidInput when it is missing or cannot be used."""
    store = RunStore(run)
    with store.reading(store.newest(lambda layer: layer.sweep_yaml)) as path:
        return resolve(_raw_sweep(path), path.resolve().parent, str(path))


def load_trial(path: Path, overrides: Sequence[str] = (), begun: TrialConfig | None = None) -> TrialConfig:
    """Read a trial's file: `data`, `objective`, and the keys of a sweep file's `trial` and `space`, all at the top.

    A trial that has `begun` keeps its division where the file does not say which images stay together.
    """
    raw = read_mapping(path)
    for section in ("space", "trial", "search"):
        if section in raw:
            raise InvalidInput(
                f"{path}: must be a trial's file, with `architecture` and the like at the top, got a sweep file with "
                f"`{section}`; run it with `{thaw_command('sweep', path)}`"
            )
    for override in overrides:
        apply_override(raw, override)
    if raw.keys().isdisjoint(TrialConfig.model_fields.keys() - {*SHARED, "epochs", "lr", "batch_size", "seed"}):
        raise InvalidInput(
            f"{path}: must be a trial's file, with `architecture` and `strategy`, got the keys {shown([*raw])}; "
            f"a configuration of another tool becomes one with `{thaw_command('import-config', path)}`"
        )
    split = begun.data.split if begun is not None else None
    state_division(raw, *([split.together] if split is not None else []))
    return parse(TrialConfig, raw, str(path), base=path.resolve().parent)


def load_data(path: Path, overrides: Sequence[str] = ()) -> tuple[TrialConfig, Storage]:
    """Read the data and batch settings of a sweep's or a trial's file; the rest may still be missing.

    A setting that decides no batch gets a stand-in value: the configuration is for looking at the data, not for
    training.
    """
    raw = read_mapping(path)
    for override in overrides:
        apply_override(raw, override)
    if not RunFolder(path.parent).run_json.is_file():  # else it is a run's own file, see `load_run`
        state_division(raw)
    is_sweep = "trial" in raw or "space" in raw
    settings = raw.get("trial", {}) if is_sweep else raw
    if not isinstance(settings, dict):
        raise InvalidInput(
            f"{path}: trial: must be a section, got {shown(settings)}; write its keys below it, or remove it"
        )
    wanted: dict[str, Any] = {key: raw[key] for key in ("data", "storage") if key in raw}
    base = path.resolve().parent
    storage = parse(Storage, wanted.pop("storage", {}), str(path), lambda _: "storage.", base)
    wanted |= {key: settings[key] for key in _DATA_SETTINGS if key in settings}
    prefix = "trial." if is_sweep else ""
    config = parse(TrialConfig, {**_STAND_INS, **wanted}, str(path), lambda key: "" if key == "data" else prefix, base)
    return config, storage


def _check(spec: SweepSpec, source: str) -> None:
    try:
        space = SearchSpace.parse(spec.space, spec.trial)
        _check_names(spec)
        for index, point in enumerate(spec.search.points or []):
            space.validate(point, f"search.points[{index}]")
        if spec.search.points is not None and not spec.search.points:
            raise InvalidInput("search.points: must hold at least one point, got none; remove the key")
        if spec.search.sampler == "grid":
            next(space.grid())
            size = space.size()
            if size is not None and spec.search.trials > size:
                raise InvalidInput(
                    f"search.trials: must be at most the {size} points of the grid, got {spec.search.trials}; "
                    f"set search.trials: {size}"
                )
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}") from None
    workers = spec.resources.workers
    for point in [*space.corners(TIED), *spec.first_points()]:
        batch_size = spec.trial_config(point, source).batch_size
        if workers > 1 and batch_size < 2 * workers:
            raise InvalidInput(
                f"{source}: batch_size must give every worker two images, got {batch_size} with resources.workers: "
                f"{workers}; set a batch_size of at least {2 * workers}, or fewer workers"
            )


def _check_names(spec: SweepSpec) -> None:
    for key, value in spec.trial.items():
        if isinstance(value, list | dict) and key != "balance":  # which has a message of its own for a list
            raise InvalidInput(
                f"trial.{key}: must be one value, got {shown(value)}; to try several, move it: "
                f"space.{key}: {{choice: [...]}}"
            )
    for section in ("trial", "space"):
        for key in getattr(spec, section):
            if key not in TrialConfig.model_fields:
                names = [name for name in TrialConfig.model_fields if name not in SHARED]
                raise InvalidInput(f"{section}.{key}: unknown key; {closest(key, names)}")
    for key in unread_settings(spec.task):
        if key in spec.space:
            raise InvalidInput(f"space.{key}: task {spec.task} reads no `{key}`, got {spec.space[key]}; remove it")

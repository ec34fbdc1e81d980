"""Loading: the sweep file read, resolved and checked as a whole before anything runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.run_folder import RunFolder
from orchestrator.spec.overrides import apply_override
from orchestrator.spec.sections import Storage
from orchestrator.spec.sweep_spec import SHARED, TIED, SweepSpec
from search_spaces.documents import read_document, read_mapping
from search_spaces.errors import InvalidInput, closest
from search_spaces.space import SearchSpace
from search_spaces.validation import parse
from trainables.config import TrialConfig
from trainables.storage.bucket import BucketPath
from trainables.task_catalog import unread_settings

# What of a trial decides its batches, beside its data; and what a configuration cannot be without.
_DATA_SETTINGS = ("seed", "batch_size", "class_weighting", "mixing_alpha")


_STAND_INS: Mapping[str, Any] = {"architecture": "any", "strategy": "head", "epochs": 1, "lr": 1.0}


def load(path: Path, overrides: Sequence[str] = (), name: str | None = None) -> SweepSpec:
    """Read a sweep file, apply `a.b=c` overrides and a name, resolve relative paths against the file, check it whole.

    Raises InvalidInput for everything that can be known to be wrong without looking at the data.
    """
    raw = read_mapping(path)
    for override in overrides:
        apply_override(raw, override)
    if name is not None:
        raw["name"] = name
    raw.setdefault("name", path.stem)
    return resolve(raw, path.resolve().parent, str(path))


def resolve(raw: dict[str, Any], base: Path, source: str) -> SweepSpec:
    """The sweep in `raw`, its paths relative to `base`, checked whole; `source` names it in messages."""
    _resolve_paths(raw, base)
    spec = parse(SweepSpec, raw, source)
    _check(spec, source)
    return spec


def load_run(run: RunFolder) -> SweepSpec:
    """The resolved sweep of a run; raises InvalidInput when it is not there or cannot be used."""
    with run.reading(run.sweep_yaml) as path:
        return load(path)


def load_trial(path: Path, overrides: Sequence[str] = ()) -> TrialConfig:
    """Read a trial's file: `data`, `objective`, and the keys of a sweep file's `trial` and `space`, all at the top."""
    raw = read_mapping(path)
    for override in overrides:
        apply_override(raw, override)
    _resolve_paths({"data": raw.get("data"), "trial": raw}, path.resolve().parent)
    return parse(TrialConfig, raw, str(path))


def load_data(path: Path, overrides: Sequence[str] = ()) -> tuple[TrialConfig, Storage]:
    """Read what a sweep's or a trial's file says of its data and batches; nothing else has to be there yet.

    Where a setting decides no batch, it is a stand-in: the configuration is for looking at the data, not for training.
    """
    raw = read_mapping(path)
    for override in overrides:
        apply_override(raw, override)
    is_sweep = "trial" in raw or "space" in raw
    settings = raw.get("trial", {}) if is_sweep else raw
    if not isinstance(settings, dict):
        raise InvalidInput(f"{path}: trial: must be a section, got {settings!r}; write its keys below it, or remove it")
    wanted: dict[str, Any] = {key: raw[key] for key in ("data", "storage") if key in raw}
    _resolve_paths(wanted, path.resolve().parent)
    storage = parse(Storage, wanted.pop("storage"), str(path), lambda _: "storage.")
    wanted |= {key: settings[key] for key in _DATA_SETTINGS if key in settings}
    prefix = "trial." if is_sweep else ""
    config = parse(TrialConfig, {**_STAND_INS, **wanted}, str(path), lambda key: "" if key == "data" else prefix)
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
    if workers > 1 and isinstance(spec.storage.root, BucketPath):
        raise InvalidInput(
            f"{source}: storage.root must be a folder that every node sees where a trial has several workers, got "
            f"{spec.storage.root} with resources.workers: {workers}: a worker on another node could not go on from a "
            "checkpoint; use such a folder, or workers: 1"
        )
    for point in [*space.corners(TIED), *spec.first_points()]:
        batch_size = spec.trial_config(point, source).batch_size
        if workers > 1 and batch_size < 2 * workers:
            raise InvalidInput(
                f"{source}: batch_size must give every worker two images, got {batch_size} with resources.workers: "
                f"{workers}; set a batch_size of at least {2 * workers}, or fewer workers"
            )


def _check_names(spec: SweepSpec) -> None:
    for section in ("trial", "space"):
        for key in getattr(spec, section):
            if key not in TrialConfig.model_fields:
                names = [name for name in TrialConfig.model_fields if name not in SHARED]
                raise InvalidInput(f"{section}.{key}: unknown key; {closest(key, names)}")
    for key in unread_settings(spec.task):
        if key in spec.space:
            raise InvalidInput(f"space.{key}: task {spec.task} reads no `{key}`, got {spec.space[key]}; remove it")


def _resolve_paths(raw: dict[str, Any], base: Path) -> None:
    for section, key in (
        ("data", "root"),
        ("data", "manifest"),
        ("data", "weights_dir"),
        ("storage", "root"),
        ("storage", "cache_dir"),
    ):
        values = raw.get(section)
        value = values.get(key) if isinstance(values, dict) else None
        if isinstance(values, dict) and isinstance(value, str) and (key, value) != ("cache_dir", "auto"):
            if (section, key) == ("storage", "root") and "://" in value:
                continue
            values[key] = str(_absolute(value, base, f"{section}.{key}"))
    storage = raw.setdefault("storage", {})
    if isinstance(storage, dict):
        storage.setdefault("root", str(base / "runs"))
    search = raw.get("search")
    if isinstance(search, dict) and isinstance(search.get("points"), str) and search["points"] != "none":
        search["points"] = _read_points(_absolute(search["points"], base, "search.points"))
    if isinstance(search, dict) and isinstance(search.get("warm_start"), list):
        runs = search["warm_start"]
        search["warm_start"] = [
            str(_absolute(run, base, "search.warm_start")) if isinstance(run, str) else run for run in runs
        ]
    for where in (raw.get("trial"), raw.get("space"), search.get("points") if isinstance(search, dict) else None):
        _resolve_weights(where, base)


def _resolve_weights(value: Any, base: Path) -> None:
    """Resolve the files under every key `weights`: a setting's, a domain's, a condition's, a point's."""

    def resolved(weights: Any) -> Any:
        match weights:
            case str() if weights not in ("none", "pretrained"):
                return str(_absolute(weights, base, "weights"))
            case list():
                return [resolved(entry) for entry in weights]
            case dict():
                return {key: resolved(entry) if key == "choice" else entry for key, entry in weights.items()}
        return weights

    if isinstance(value, dict):
        if "weights" in value:
            value["weights"] = resolved(value["weights"])
        for entry in value.values():
            _resolve_weights(entry, base)
    elif isinstance(value, list):
        for entry in value:
            _resolve_weights(entry, base)


def _absolute(value: str, base: Path, key: str) -> Path:
    if "://" in value:
        raise InvalidInput(
            f"{key}: must be a path of this machine, got {value!r}; only a run may lie in a bucket, storage.root"
        )
    try:
        return base / Path(value).expanduser()
    except RuntimeError as error:
        raise InvalidInput(f"{key}: must be a path, got {value!r}: {error}; write it out") from None


def _read_points(path: Path) -> Any:
    points = read_document(path)
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise InvalidInput(f"search.points: {path} must hold a list of points, e.g. `- {{lr: 1e-3}}`; mend it")
    return points

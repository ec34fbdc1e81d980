"""SweepSpec: the sweep file, read, resolved and checked as a whole before anything runs."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from analysis.run_folder import RunFolder
from orchestrator.budget import Budget
from orchestrator.overrides import apply_override
from orchestrator.sections import Resources, Search, Stopping, Storage, Tracking
from search_spaces.documents import dump_yaml, read_document, read_mapping
from search_spaces.errors import InvalidInput, closest
from search_spaces.space import Point, SearchSpace
from search_spaces.validation import parse
from trainables.bucket import BucketPath
from trainables.config import STRATEGY_PARAMETERS, DataConfig, Frozen, Objective, OrNone, TrialConfig
from trainables.storage import Place

# What an experienced person would try first; enqueued before the sampler's own ideas where the space contains it.
DEFAULT_RECIPE: Point = {
    "strategy": "head",
    "lr": 1e-3,
    "backbone_lr_factor": 1.0,
    "balance": "none",
    "scheduler": "cosine",
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "dropout": 0.0,
    "batch_size": 32,
    "augmentation": "none",
    "normalization": "weights",
}

# Dimensions that a rule of TrialConfig ties to one another: checked in every combination of their ends.
_TIED = ("architecture", "weights", "strategy", "epochs", *(n for names in STRATEGY_PARAMETERS.values() for n in names))

# What of a trial decides its batches, beside its data; and what a configuration cannot be without.
_DATA_SETTINGS = ("seed", "batch_size", "class_weighting", "mixing_alpha")
_STAND_INS: Mapping[str, Any] = {"architecture": "any", "strategy": "head", "epochs": 1, "lr": 1.0}


class SweepSpec(Frozen):
    """A sweep: what varies, what does not, how many trials, what decides, and on what machine."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    """Name of the run's folder and of its group in W&B: letters, digits, dot, dash, underscore."""

    data: DataConfig
    """The data set and its preprocessing."""

    objective: Objective = Objective()
    """What is maximised or minimised."""

    trial: dict[str, Any] = Field(default_factory=dict)
    """Settings of every trial; anything here may move to `space` and back."""

    space: dict[str, Any] = Field(default_factory=dict)
    """What varies: a domain, or a list of domains with conditions, for each dimension."""

    search: Search = Search()
    """Who proposes configurations, and how many."""

    budget: Budget = Budget()
    """What ends the sweep before its trials are done."""

    stopping: Annotated[Stopping | None, OrNone] = Stopping()
    """When a trial is stopped early; none: never."""

    resources: Resources = Resources()
    """What one trial gets."""

    storage: Storage = Storage()
    """Where the run lies."""

    tracking: Tracking = Tracking()
    """Who is told."""

    @model_validator(mode="after")
    def _sections_do_not_overlap(self) -> Self:
        for section in ("trial", "space"):
            for key in ("data", "objective"):
                if key in getattr(self, section):
                    raise ValueError(f"{section}.{key}: `{key}` is a section of its own; move it to the top level")
        return self

    @model_validator(mode="after")
    def _gpu_hours_can_be_used(self) -> Self:
        if self.budget.gpu_hours is not None and not self.resources.gpus_per_worker:
            raise ValueError(
                "budget.gpu_hours: needs trials that use a GPU, got resources.gpus_per_worker=0; "
                "raise that, or set budget.wall_clock instead"
            )
        return self

    @model_validator(mode="after")
    def _target_can_be_reached(self) -> Self:
        target, most = self.budget.target, 1.0 if self.objective.mode == "max" else math.inf
        if target is not None and not 0 <= target <= most:
            between = "between 0 and 1" if most == 1 else "at least 0"
            raise ValueError(
                f"budget.target: must be a value that {self.objective.metric} can have, {between}, got {target:g}; "
                "write e.g. 0.8 for 80 %"
            )
        return self

    @cached_property
    def search_space(self) -> SearchSpace:
        """The `space` section, on top of `trial`."""
        return SearchSpace.parse(self.space, self.trial)

    @property
    def run_root(self) -> Place:
        """RUN, the folder of this sweep."""
        return self.storage.root / self.name

    def trial_config(self, point: Mapping[str, Any], source: str = "point") -> TrialConfig:
        """The configuration of a point; raises InvalidInput with the section of the sweep file that is wrong."""

        def section(key: str) -> str:
            if key in ("data", "objective"):
                return ""
            return "space." if key in self.space or (key not in self.trial and self.space) else "trial."

        shared = {"data": self.data, "objective": self.objective}
        return parse(TrialConfig, {**self.trial, **point, **shared}, source, section)

    def corner_configs(self) -> list[TrialConfig]:
        """Configurations that between them reach every end of the space, and those that are tried first."""
        points = [*self.search_space.corners(_TIED), *self.first_points()]
        return [self.trial_config(point) for point in points]

    def first_points(self) -> list[Point]:
        """What is tried before the sampler's own proposals, in order, at most `search.trials` of them."""
        points = [self.search_space.validate(point) for point in self.search.points or ()]
        if self.search.sampler == "grid":
            points += [point for point in islice(self.search_space.grid(), self.search.trials) if point not in points]
        if points:
            return points[: self.search.trials]
        default = self.search_space.nearest_default(DEFAULT_RECIPE)
        return [] if default is None else [default]

    def to_yaml(self) -> str:
        """The resolved sweep as YAML that `load` reads back equal."""
        values = self.model_dump(mode="json", exclude={"stopping"})
        values["data"] = {key: value for key, value in values["data"].items() if value is not None}
        for section in ("search", "budget"):
            values[section] = {key: value for key, value in values[section].items() if value is not None}
        values["storage"]["keep_best"] = self.storage.keep_best or "none"
        for section, key in (("resources", "concurrent"), ("storage", "cache_dir"), ("storage", "cache_budget")):
            values[section][key] = "auto" if values[section][key] is None else values[section][key]
        if self.resources.epoch_timeout is None:
            values["resources"]["epoch_timeout"] = "none"
        values["stopping"] = "none" if self.stopping is None else self.stopping.model_dump(mode="json")
        return dump_yaml(values)


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
    for point in [*space.corners(_TIED), *spec.first_points()]:
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
                names = [name for name in TrialConfig.model_fields if name not in ("data", "objective")]
                raise InvalidInput(f"{section}.{key}: unknown key; {closest(key, names)}")


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

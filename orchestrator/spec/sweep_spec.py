"""SweepSpec: the sweep file, read, resolved and checked as a whole before anything runs."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.spec.budget import Budget
from orchestrator.spec.points import Settings
from orchestrator.spec.search_problem import SearchProblem
from orchestrator.spec.sections import Resources, Search, Stopping, Storage, Tracking
from search_spaces.documents import dump_yaml
from search_spaces.errors import shown
from search_spaces.none_and_auto import OrNone
from search_spaces.space import Point, SearchSpace
from search_spaces.validation import Frozen, parse
from trainables.config import STRATEGY_PARAMETERS, TaskName, TaskObjective, TrialConfig, default_objective
from trainables.data_config import DataConfig, TrainedOn
from trainables.fold_rules import TIED_BY_FOLDS
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place
from trainables.task_catalog import DEFAULT_TASK, metrics_of, unread_settings

# Sections of the sweep file that are the same in every trial.
SHARED = ("data", "task", "objective")

# First configuration that an expert would try; enqueued before the sampler's proposals where the space contains it.
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

# The ways to thaw an architecture that has been probed, with rates that did well in `benchmarks/fine_tuning.md`: gently
# from the probe, and as usual. Augmentation is the first choice of the space.
_THAW: Point = {name: value for name, value in DEFAULT_RECIPE.items() if name != "augmentation"} | {"strategy": "full"}
THAWS: tuple[Point, ...] = (
    {**_THAW, "norm_stats": "frozen", "head_init": "probe", "lr": 1e-4},
    {**_THAW, "norm_stats": "batch", "head_init": "random", "lr": 1e-3},
)

# Dimensions that a rule of TrialConfig ties to one another: checked in every combination of their ends.
TIED = (
    "architecture",
    "weights",
    "norm_stats",
    "head_init",
    "strategy",
    "epochs",
    *(n for names in STRATEGY_PARAMETERS.values() for n in names),
)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_NAME = 64


def check_run_name(name: Any) -> Any:
    """Return the name of a sweep. Raises ValueError for a text that cannot name a folder and a group."""
    if not isinstance(name, str) or (_NAME.fullmatch(name) and len(name) <= _LONGEST_NAME):
        return name
    rest = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:_LONGEST_NAME]
    raise ValueError(
        f"must be at most {_LONGEST_NAME} letters, digits, dots, dashes and underscores, and begin with a letter or "
        f"digit, got {shown(name)}; choose another{f', e.g. {rest}' if rest else ''}: `name` in the file, or --name of "
        "`sweep`"
    )


class SweepSpec(Frozen):
    """SweepSpec: space, fixed settings, number of trials, objective and machine of a sweep."""

    name: Annotated[str, BeforeValidator(check_run_name)] = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64
    )
    """Name of the run's folder and of its group in W&B: letters, digits, dot, dash, underscore."""

    data: DataConfig
    """Data set and its preprocessing."""

    task: TaskName = DEFAULT_TASK
    """Task of the model, and so its output for an image: classification, or a task that is installed."""

    objective: TaskObjective = Field(default_factory=lambda fields: default_objective(fields["task"]))
    """Objective that is maximized or minimized."""

    trial: Settings = Field(default_factory=dict)
    """Settings of every trial; anything here may move to `space` and back."""

    space: Settings = Field(default_factory=dict)
    """Settings that vary: for each dimension a domain, or a list of domains with conditions."""

    search: Search = Search()
    """Sampler of configurations, and their number."""

    budget: Budget = Budget()
    """Limits that end the sweep before its trials are done."""

    stopping: OrNone[Stopping] = Stopping()
    """Early stopping of trials; none: never."""

    resources: Resources = Resources()
    """Resources of one trial."""

    storage: Storage = Storage()
    """Place of the run."""

    tracking: Tracking = Tracking()
    """Trackers and notification."""

    @model_validator(mode="after")
    def _sections_do_not_overlap(self) -> Self:
        for section in ("trial", "space"):
            for key in SHARED:
                if key in getattr(self, section):
                    raise ValueError(f"{section}.{key}: `{key}` is a section of its own; move it to the top level")
        return self

    @model_validator(mode="after")
    def _val_is_not_trained_on(self) -> Self:
        if self.data.train_on is not TrainedOn.TRAIN:
            raise ValueError(
                f"data.train_on: must be train in a sweep, which ranks by val, got {self.data.train_on}; "
                "`thaw retrain --on train+val` trains the winner on both"
            )
        return self

    @model_validator(mode="after")
    def _folds_have_one_worker(self) -> Self:
        if self.data.folds is not None and self.resources.workers > 1:
            raise ValueError(
                f"resources.workers: must be 1 beside data.folds, whose heads train in one process, got "
                f"{self.resources.workers}; remove it, or data.folds"
            )
        return self

    @model_validator(mode="after")
    def _runs_are_no_class(self) -> Self:
        if isinstance(self.data.root, BucketPath):
            return self._runs_are_elsewhere(self.data.root)
        lists_classes = self.data.folds is not None and not (self.data.root / "train").is_dir()
        if (self.data.split is None and not lists_classes) or self.data.manifest is not None:
            return self
        photos = self.data.root.resolve()
        for name, folder in (("root", self.storage.root), ("cache_dir", self.storage.cache_dir)):
            if isinstance(folder, Path) and folder.resolve().is_relative_to(photos):
                raise ValueError(
                    f"storage.{name}: must lie outside of data.root, whose folders are taken for classes, got "
                    f"{folder} in {self.data.root}; choose another folder"
                )
        return self

    def _runs_are_elsewhere(self, photos: BucketPath) -> Self:
        runs = self.storage.root
        if isinstance(runs, BucketPath) and runs.bucket == photos.bucket and runs.key.is_relative_to(photos.key):
            raise ValueError(
                f"storage.root: must lie outside of data.root, all of which is fetched, got {runs} in {photos}; "
                "choose another prefix"
            )
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
    def _probes_exist(self) -> Self:
        if self.search.probe and "head_init" in unread_settings(self.task):
            raise ValueError(
                f"search.probe: must be false or auto for the task {self.task}, which has no linear probe, got true; "
                "remove it"
            )
        return self

    @model_validator(mode="after")
    def _target_can_be_reached(self) -> Self:
        target, metric = self.budget.target, metrics_of(self.task)[self.objective.metric]
        if target is not None and not metric.low <= target <= metric.high:
            remedy = "write e.g. 0.8 for 80 %" if metric.high == 1 else "choose such a value"
            raise ValueError(
                f"budget.target: must be a value that {self.objective.metric} can have, {metric.values}, "
                f"got {target:g}; {remedy}"
            )
        return self

    @cached_property
    def search_space(self) -> SearchSpace:
        """Search space: the `space` section, on top of `trial`."""
        return SearchSpace.parse(self.space, self.trial)

    @property
    def problem(self) -> SearchProblem:
        """Part of the sweep that decides which points are tried."""
        return SearchProblem(self.search_space, self.search, self.objective, self.trial_config)

    @property
    def run_root(self) -> Place:
        """RUN, the folder of this sweep."""
        return self.storage.root / self.name

    def trial_config(self, point: Mapping[str, Any], source: str = "point") -> TrialConfig:
        """Return the configuration of a point. Raises InvalidInput with the section of the sweep file that is wrong."""

        def section(key: str) -> str:
            if key in SHARED:
                return ""
            return "space." if key in self.space or (key not in self.trial and self.space) else "trial."

        shared = {key: getattr(self, key) for key in SHARED}
        return parse(TrialConfig, {**self.trial, **point, **shared}, source, section)

    def corner_configs(self) -> list[TrialConfig]:
        """Return configurations that together reach every end of the space, and those that are tried first."""
        tied = TIED if self.data.folds is None else (*TIED, *TIED_BY_FOLDS)
        points = [*self.search_space.corners(tied), *self.first_points()]
        return [self.trial_config(point) for point in points]

    def given_points(self) -> list[Point]:
        """Return the points of the sweep file, then those of a grid, in order; at most `search.trials` of them."""
        points = [self.search_space.validate(point) for point in self.search.points or ()]
        if self.search.sampler == "grid":
            points += [point for point in islice(self.search_space.grid(), self.search.trials) if point not in points]
        return points[: self.search.trials]

    def first_points(self) -> list[Point]:
        """Return the points that are tried before the sampler's: the given ones, or the default recipe without any."""
        default = self.search_space.nearest_default(DEFAULT_RECIPE)
        return self.given_points() or ([] if default is None else [default])

    @cached_property
    def probed(self) -> bool:
        """True where architectures are probed before the sweep: as told, or by `auto` where it costs little."""
        if self.search.probe is not None:
            return self.search.probe
        configs = self.corner_configs()
        epochs = self.search.trials * max(config.epochs for config in configs)
        trained = all(config.weights != "none" for config in configs)
        return trained and "head_init" not in unread_settings(self.task) and 20 * len(_architectures(configs)) <= epochs

    @property
    def probed_architectures(self) -> list[str]:
        """Architectures that are probed before the sweep, in the order of the space; empty where none is."""
        return _architectures(self.corner_configs()) if self.probed else []

    def to_yaml(self) -> str:
        """Return the resolved sweep as YAML that `load` reads back equal."""
        values = self.model_dump(mode="json")
        values["data"] = self.data.model_dump(mode="json", exclude_none=True)
        return dump_yaml(values)


def _architectures(configs: Sequence[TrialConfig]) -> list[str]:
    return list(dict.fromkeys(config.architecture for config in configs))


def untrained_statistics_warning(configs: Sequence[TrialConfig]) -> str | None:
    """Return the warning about statistics of BatchNorm that are kept, but that no photo has made; None without any."""
    if not any(config.norm_stats == "frozen" and config.weights == "none" for config in configs):
        return None
    return (
        "norm_stats: frozen keeps the statistics of BatchNorm that came with the weights, and with weights: none there "
        "are none; such trials learn badly. Set norm_stats: batch, or weights that were trained"
    )

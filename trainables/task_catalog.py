"""Catalog of tasks: name, metrics, settings and place of the implementation of each. Light to import: no torch.

A task of another distribution is found by an entry point of the group `thaw.tasks`: its name is the task's, its object
a TaskEntry. The module that holds that object must be light as well.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Literal

from search_spaces.errors import InvalidInput, one_of

GROUP = "thaw.tasks"
DEFAULT_TASK = "classification"

METRICS_VERSION = 2
"""Version of the definitions of the metrics; a run keeps the one with which it began.

1: macro-F1 is the mean over the classes that occur among labels or predictions. 2: it is the mean over all classes of
train, and a class that does not occur counts as 0.
"""

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Metric:
    """A number that a trial reports of its validation split after every epoch."""

    mode: Mode
    """The way in which it is better."""

    low: float = -math.inf
    """The least value that it can have."""

    high: float = math.inf
    """The largest value that it can have."""

    @property
    def values(self) -> str:
        """The values that it can have, in words."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"between {self.low:g} and {self.high:g}"
        return f"at least {self.low:g}" if math.isfinite(self.low) else f"at most {self.high:g}"


@dataclass(frozen=True)
class TaskEntry:
    """A task as the sweep file knows it."""

    implementation: str
    """`module:attribute` of a Task; `load_task` imports it when it is first used."""

    metrics: Mapping[str, Metric]
    """The metrics by their names with the prefix `val/`; the first is the default objective."""

    settings: tuple[str, ...] = ()
    """Those settings of TrialConfig that only some tasks read, and this one does."""


BUILT_IN: Mapping[str, TaskEntry] = {
    "classification": TaskEntry(
        implementation="trainables.task.classification:CLASSIFICATION",
        metrics={
            "val/macro_f1": Metric("max", 0, 1),
            "val/accuracy": Metric("max", 0, 1),
            "val/balanced_accuracy": Metric("max", 0, 1),
            "val/loss": Metric("min", 0),
        },
        settings=(
            "balance",
            "class_weighting",
            "focal_gamma",
            "head_init",
            "label_smoothing",
            "mixing",
            "mixing_alpha",
            "teacher",
            "teacher_temperature",
            "teacher_weight",
        ),
    )
}


def task_names() -> list[str]:
    """List the names of all tasks: the built-in ones, then those that are installed."""
    return [*BUILT_IN, *_installed()]


def task_entry(task: str) -> TaskEntry:
    """Return the entry of a task; raises InvalidInput with the closest names for an unknown one."""
    if task in BUILT_IN:
        return BUILT_IN[task]
    if task not in _installed():
        names = task_names()
        raise InvalidInput(f"task: {one_of(task, names)}")
    return _installed_entry(task)


def metrics_of(task: str) -> Mapping[str, Metric]:
    """Return the metrics of a task."""
    return task_entry(task).metrics


def all_metrics() -> Mapping[str, Metric]:
    """Return the metrics of all tasks; where two share a name, that of the first."""
    found: dict[str, Metric] = {}
    for task in task_names():
        found = {**metrics_of(task), **found}
    return found


def find_metric(name: str) -> Metric | None:
    """Return a metric of any task, of built-in ones without a look at what is installed; None where no task has it."""
    for entry in BUILT_IN.values():
        if name in entry.metrics:
            return entry.metrics[name]
    return all_metrics().get(name)


def default_metric(task: str) -> str:
    """Return the metric that decides where the sweep file names none."""
    return next(iter(metrics_of(task)))


def is_same_metric(metric: str, version: int, other: int, *, lacks_classes: bool) -> bool:
    """Return whether two versions of the definitions give equal values of a metric `val/...`.

    `lacks_classes`: the validation split lacks a class of train.
    """
    return version == other or metric != "val/macro_f1" or not lacks_classes


def unread_settings(task: str) -> list[str]:
    """Return the settings of TrialConfig that other tasks read and this one does not."""
    shared = dict.fromkeys(name for entry in BUILT_IN.values() for name in entry.settings)
    return [name for name in shared if name not in task_entry(task).settings]


@cache
def _installed() -> Mapping[str, str]:
    """`module:attribute` of the entry of each task of another distribution."""
    return {point.name: point.value for point in entry_points(group=GROUP) if point.name not in BUILT_IN}


@cache
def _installed_entry(task: str) -> TaskEntry:
    place = _installed()[task]
    entry = resolve_name(place)
    if not isinstance(entry, TaskEntry):
        raise InvalidInput(
            f"task: an entry point of {GROUP} must name a TaskEntry, got {place}, a {type(entry).__name__}, "
            f"for {task}; correct the distribution that installs it, or remove it"
        )
    return entry

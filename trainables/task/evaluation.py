"""Evaluation of a finished model, or several that vote: the metrics of a split, with the task's additions."""

from dataclasses import asdict, dataclass, field
from typing import Any

from trainables.interval import Interval


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A trained model measured on one split. A task leaves out what it does not have; that is empty or None."""

    split: str
    """Name of the split."""

    fingerprint: str | None = None
    """Fingerprint of the images that were measured: two measurements compare where it is equal."""

    classes: tuple[str, ...] = ()
    """Class names in the order of the model's outputs."""

    metrics: dict[str, float]
    """Metrics that a trial reports of its validation split, without the prefix `val/`."""

    top_k: dict[str, float] = field(default_factory=dict)
    """Accuracy among the k most probable classes, by k: "1", "3", "5", as far as they are below the classes."""

    calibration_error: float | None = None
    """Expected calibration error, 15 bins."""

    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    """Precision, recall, F1 and number of images (support) of every class."""

    confusion: list[list[int]] = field(default_factory=list)
    """Rows are true classes, columns predicted ones."""

    intervals: dict[str, Interval] = field(default_factory=dict)
    """95 % intervals of metrics for other images, by their names."""

    recall_intervals: dict[str, Interval | None] = field(default_factory=dict)
    """The same of every class's recall; None for a class without images."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping, without what the task does not have."""
        return {name: value for name, value in asdict(self).items() if value not in ((), {}, [], None)}

    def scalars(self) -> dict[str, float]:
        """Return every metric that is one number, by name."""
        top = {f"top_{k}_accuracy": value for k, value in self.top_k.items() if k != "1"}
        calibration = {} if self.calibration_error is None else {"calibration_error": self.calibration_error}
        return {**self.metrics, **top, **calibration}

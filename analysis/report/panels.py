"""Panels of a run, in the order in which they are read; `figures` hands them to notebooks."""

from collections.abc import Callable

import plotly.graph_objects as go

from analysis.report import choices, classes, exported, finalists, models, photos, progress
from analysis.report.panel import Panel, RunData
from analysis.run_folder import RunFolder
from trainables.storage.place import Place

PANELS: tuple[Callable[[RunData], Panel | None], ...] = (
    progress.curves,
    finalists.finalists,
    models.comparison,
    choices.importance,
    choices.strategies,
    choices.balance,
    choices.parallel,
    choices.slices,
    progress.search,
    models.tradeoff,
    classes.counts,
    classes.confused_classes,
    classes.recall,
    exported.coverage,
    exported.latency,
    photos.mistakes,
    photos.doubtful_labels,
    progress.cost,
)
"""Each returns nothing where a run lacks what it shows."""


def panels(data: RunData) -> list[Panel]:
    """Return the panels that the data of a run allow."""
    return [panel for make in PANELS if (panel := make(data)) is not None]


def figures(run: RunFolder | Place | str) -> dict[str, go.Figure]:
    """Return the figures of a run by name, as Plotly objects, for a notebook.

    A figure whose data are missing is absent. Raises InvalidInput when there is no run or a record cannot be used.
    """
    found = {panel.name: panel.content for panel in panels(RunData.of(run))}
    return {name: content for name, content in found.items() if isinstance(content, go.Figure)}

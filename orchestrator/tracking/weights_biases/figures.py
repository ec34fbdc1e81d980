"""Figures of a run's page in W&B: `figures/<name>` of the run with the summary of the sweep."""

import hashlib
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.ledger import Ledger
from orchestrator.tracking.summary import SweepSummary

if TYPE_CHECKING:
    from analysis.report.panel import Panel

FIGURE_PREFIX = "figures/"

_DIGEST = f"{FIGURE_PREFIX}digest"


def page_panels(summary: SweepSummary) -> list["Panel"]:
    """Return the panels of the page of a run; none without Plotly, which comes with thaw[report]."""
    if importlib.util.find_spec("plotly") is None:
        return []
    from analysis.report.panel import RunData
    from analysis.report.panels import panels

    return panels(RunData(summary.run, Ledger(summary.run).read_run(), summary.leaderboard))


def log_figures(run: Any, panels: Sequence["Panel"]) -> None:
    """Log the figures as a row of an open run of W&B, unless its last row of figures is equal."""
    import wandb

    digest = hashlib.sha256("".join(panel.figure.to_json() for panel in panels).encode()).hexdigest()
    if panels and run.summary.get(_DIGEST) != digest:
        # As a row: W&B draws media of the history, and none of the summary alone.
        run.log({FIGURE_PREFIX + panel.name: wandb.Plotly(panel.figure) for panel in panels})
        run.summary[_DIGEST] = digest

"""Sections of a run's page in W&B: `figures/<name>` of the run with the summary of the sweep."""

import hashlib
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.ledger import Ledger
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.weights_biases.media import table

if TYPE_CHECKING:
    from analysis.report.panel import Panel

FIGURE_PREFIX = "figures/"

_DIGEST = f"{FIGURE_PREFIX}digest"


def page_panels(summary: SweepSummary) -> list["Panel"]:
    """Return the figures and tables of the page of a run; none without Plotly, which comes with thaw[report].

    Photos stay here: nobody has asked to send them to a service.
    """
    if importlib.util.find_spec("plotly") is None:
        return []
    from analysis.report.panel import RunData
    from analysis.report.panels import panels

    shown = panels(RunData(summary.run, Ledger(summary.run).read_run(), summary.leaderboard))
    return [panel for panel in shown if not isinstance(panel.content, tuple)]


def log_figures(run: Any, panels: Sequence["Panel"]) -> None:
    """Log the sections as a row of an open run of W&B, unless its last such row is equal."""
    digest = hashlib.sha256("".join(_text(panel) for panel in panels).encode()).hexdigest()
    if panels and run.summary.get(_DIGEST) != digest:
        # As a row: W&B draws media of the history, and none of the summary alone.
        run.log({FIGURE_PREFIX + panel.name: _media(panel) for panel in panels})
        run.summary[_DIGEST] = digest


def _text(panel: "Panel") -> str:
    return str(panel.content.to_json()) if hasattr(panel.content, "to_json") else repr(panel.content)


def _media(panel: "Panel") -> Any:
    import wandb

    from analysis.report.panel import Table

    if isinstance(panel.content, Table):
        return table([name for name, _ in panel.content.columns], panel.content.rows)
    return wandb.Plotly(panel.content)

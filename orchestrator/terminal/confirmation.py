"""Finalists over several seeds, as a table and a sentence."""

from rich.table import Table

from analysis.comparisons.confirmation import Confirmation, Finalist
from orchestrator.terminal.tables import interval_text


def confirmation_table(found: Confirmation) -> Table:
    """Return one row per finalist, the best mean first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("finalist")
    for name in ("seeds", found.objective.metric, "95 %", "behind", "95 %", "p"):
        table.add_column(name, justify="right")
    for finalist in found.finalists:
        table.add_row(finalist.trial_id, str(len(finalist.values)), f"{finalist.mean:.4f}", *_rest(finalist))
    return table


def _rest(finalist: Finalist) -> tuple[str, str, str, str]:
    interval, behind = finalist.interval, finalist.behind
    own = interval_text(interval, 4)
    if behind is None or finalist.p_value is None:
        return own, "", "", ""
    p_value = "<0.001" if finalist.p_value < 0.001 else f"{finalist.p_value:.3f}"
    return own, f"{(behind.low + behind.high) / 2:.4f}", f"{behind.low:+.4f} to {behind.high:+.4f}", p_value

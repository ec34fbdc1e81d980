"""Tables about two trials, for the terminal."""

from rich.table import Table
from rich.text import Text

from analysis.comparisons.comparison import TrialComparison
from orchestrator.terminal.safe_console import safe_text
from search_spaces.space import value_text


def setting_table(found: TrialComparison) -> Table:
    """Return one row per setting that differs; empty where it does not apply to a trial."""
    table = _table(found, "setting")
    for name, values in found.settings.items():
        table.add_row(safe_text(name), *(safe_text("" if value is None else value_text(value)) for value in values))
    return table


def curve_table(found: TrialComparison) -> Table:
    """Return one row per epoch, with the objective of both; the best epoch of each is green."""
    table = _table(found, "epoch")
    best = [None if trial.best is None else trial.best.epoch for trial in found.trials]
    for epoch, *values in found.curves:
        cells = [
            Text("" if value is None else f"{value:.4f}", style="green" if epoch == top else "")
            for value, top in zip(values, best, strict=True)
        ]
        table.add_row(str(epoch), *cells)
    return table


def _table(found: TrialComparison, head: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(head, overflow="fold")
    for trial in found.trials:
        table.add_column(trial.trial_id, justify="right", overflow="fold")
    return table

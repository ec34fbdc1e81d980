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


def confirmation_text(found: Confirmation) -> str:
    """Return in a sentence whether there is a winner."""
    names = [finalist.trial_id for finalist in found.finalists]
    if not names:
        return "no finalist has a value yet" if not found.is_done else "no training of a finalist has completed"
    failed = f"; {found.failed} of {found.planned} trainings failed" if found.failed else ""
    if not found.is_done:
        return f"{found.completed} of {found.planned} trainings are done; {names[0]} leads{failed}"
    best, others = found.finalists[0], found.finalists[1:]
    seeds = f"{len(best.values)} seed{'s' if len(best.values) > 1 else ''}"
    if not others:
        return f"{best.trial_id} is the only finalist: {found.objective.metric} {best.mean:.4f} over {seeds}{failed}"
    if found.winner is not None:
        each = "the other" if len(others) == 1 else f"each of the {len(others)} others"
        return f"{best.trial_id} is the winner: over {seeds} it is better than {each} (Welch's t, 5 %){failed}"
    if best.interval is None:
        return f"{best.trial_id} leads, but one seed cannot tell finalists apart; give --seeds 5{failed}"
    behind = [finalist.trial_id for finalist in found.left_behind]
    equal = [name for name in names if name not in behind]
    worse = f"; {' and '.join(behind)} {'are' if len(behind) > 1 else 'is'} worse" if behind else ""
    tie = (
        f"{', '.join(equal[:-1])} and {equal[-1]} cannot be told apart over {seeds}"
        if len(equal) > 1
        else (f"{equal[0]} leads, but its distance to {behind[-1]} is uncertain")
    )
    return f"no winner: {tie} (5 %){worse}; the best mean is that of {best.trial_id}{failed}"

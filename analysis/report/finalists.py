"""Panel on the finalists: the objective of each under every seed, its mean and the interval of the mean."""

import plotly.graph_objects as go

from analysis.comparisons.confirmation import confirmation_text
from analysis.report.panel import COLORS, Panel, RunData, plain


def finalists(data: RunData) -> Panel | None:
    """Values of each finalist under each seed, with its mean."""
    found = data.confirmation
    if found is None or not found.finalists:
        return None
    # Plotly draws the first category at the bottom.
    shown = [*reversed(found.finalists)]
    names = [plain(finalist.trial_id) for finalist in shown]
    made = go.Figure()
    made.add_trace(
        go.Scatter(
            x=[value for finalist in shown for value in finalist.values.values()],
            y=[name for name, finalist in zip(names, shown, strict=True) for _ in finalist.values],
            mode="markers",
            name="a seed",
            marker={"color": COLORS[4], "size": 8, "opacity": 0.7},
            text=[f"seed {seed}" for finalist in shown for seed in finalist.values],
        )
    )
    reach = [(each.mean, *(each.interval or (each.mean, each.mean))) for each in shown]
    made.add_trace(
        go.Scatter(
            x=[finalist.mean for finalist in shown],
            y=names,
            mode="markers",
            name="mean, 95 %",
            marker={"color": COLORS[0], "size": 11, "symbol": "diamond"},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - mean for mean, _, high in reach],
                "arrayminus": [mean - low for mean, low, _ in reach],
                "color": COLORS[0],
            },
        )
    )
    made.update_layout(
        template="plotly_white", height=160 + 50 * len(shown), margin={"l": 60, "r": 20, "t": 30, "b": 50}
    )
    made.update_layout(legend={"orientation": "h", "y": 1.15}, hovermode="closest")
    made.update_yaxes(title_text="trial", type="category")
    made.update_xaxes(title_text=plain(data.metric))
    note = confirmation_text(found)
    return Panel("finalists", "Finalists under other seeds", f"{note[0].upper()}{note[1:]}.", made)

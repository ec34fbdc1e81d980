"""Panel on what the exported model costs: what `thaw benchmark` has measured, by file, runtime and batch."""

import plotly.graph_objects as go

from analysis.report.panel import COLORS, Panel, RunData, plain
from analysis.winner import measured_cost
from search_spaces.errors import InvalidInput


def cost(data: RunData) -> Panel | None:
    """Median latency of a batch with one thread, with its 95th percentile."""
    try:
        found = measured_cost(data.run)
        threads = min(row["threads"] for row in found) if found else 0
        rows = [row for row in found if row["threads"] == threads]
        # Plotly draws the first category at the bottom.
        names = [f"{row['model'].rpartition('/')[2]}, {row['runtime']}" for row in reversed(rows)]
        made = go.Figure()
        for color, batch in zip(COLORS, sorted({row["batch"] for row in rows}), strict=False):
            own = [(name, row) for name, row in zip(names, reversed(rows), strict=True) if row["batch"] == batch]
            made.add_trace(
                go.Bar(
                    x=[1000 * row["p50"] for _, row in own],
                    y=[plain(name) for name, _ in own],
                    name=f"batch of {batch}",
                    orientation="h",
                    marker={"color": color},
                    error_x={"type": "data", "array": [1000 * (row["p95"] - row["p50"]) for _, row in own]},
                    text=[f"{row['images_per_second']:.3g} images/s, {row['size'] / 1e6:.1f} MB" for _, row in own],
                    textposition="none",
                    hovertemplate="%{y}: %{x:.3g} ms, %{text}<extra></extra>",
                )
            )
    except (InvalidInput, KeyError, TypeError, ValueError):  # `thaw benchmark` writes the record anew
        return None
    if not rows:
        return None
    made.update_layout(template="plotly_white", height=160 + 60 * len({*names}), margin={"l": 60, "r": 20})
    made.update_layout(legend={"orientation": "h", "y": 1.15, "traceorder": "normal"}, barmode="group")
    made.update_yaxes(type="category", automargin=True)
    made.update_xaxes(title_text="milliseconds a batch: median, and the 95th percentile", rangemode="tozero")
    note = f"From pixels in memory to logits, with {threads} {'thread' if threads == 1 else 'threads'}."
    return Panel("latency", "Cost of an answer", note, made)

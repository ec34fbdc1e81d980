"""Panels on the exported model: how many answers are right where unsure ones are withheld, and what an answer costs."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from analysis.report.panel import COLORS, Panel, RunData, plain
from analysis.winner import exported_calibration, measured_cost
from search_spaces.errors import InvalidInput


def coverage(data: RunData) -> Panel | None:
    """Risk-coverage curve of the exported model on the validation images (Geifman & El-Yaniv, 2017)."""
    if data.has_stale_export:
        return None
    try:
        found = exported_calibration(data.run)
    except InvalidInput:  # `thaw export` says what is wrong with the record
        return None
    rows = (found or {}).get("coverages") or []
    if not rows:
        return None
    made = go.Figure(
        go.Scatter(
            x=[row["coverage"] for row in rows],
            y=[row["accuracy"] for row in rows],
            mode="lines+markers",
            marker={"color": COLORS[0], "size": 8},
            line={"color": COLORS[0]},
            text=[f"--min-confidence {row['min_confidence']:.3f}" for row in rows],
        )
    )
    made.update_layout(template="plotly_white", height=360, margin={"l": 60, "r": 20, "t": 30, "b": 50})
    made.update_xaxes(title_text="images that get an answer", tickformat=".0%", autorange="reversed")
    made.update_yaxes(title_text="answers that are right", tickformat=".0%")
    kept = min(rows, key=lambda row: abs(row["coverage"] - 0.8))
    note = (
        f"With --min-confidence {kept['min_confidence']:.2f}, {kept['coverage']:.0%} of the validation images get an "
        f"answer, and {kept['accuracy']:.1%} of these are right; of all images {rows[0]['accuracy']:.1%}."
    )
    return Panel("coverage", "Answers that are withheld", note, made)


def latency(data: RunData) -> Panel | None:
    """Median latency of a batch with one thread, with its 95th percentile."""
    if data.has_stale_export:
        return None
    try:
        found = measured_cost(data.run)
        threads = min(row["threads"] for row in found) if found else 0
        rows = [row for row in found if row["threads"] == threads]
        # Plotly draws the first category at the bottom.
        names = [_name(row) for row in reversed(rows)]
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
                    error_x={
                        "type": "data",
                        "symmetric": False,
                        "array": [1000 * (row["p95"] - row["p50"]) for _, row in own],
                        "arrayminus": [0.0 for _ in own],
                    },
                    text=[f"{row['images_per_second']:.3g} images/s, {row['size'] / 1e6:.1f} MB" for _, row in own],
                    textposition="none",
                    hovertemplate="%{y}: %{x:.3g} ms, %{text}<extra></extra>",
                )
            )
    except (InvalidInput, KeyError, TypeError, ValueError):  # `thaw benchmark` writes the record anew
        return None
    if not rows:
        return None
    made.update_layout(template="plotly_white", height=130 + 60 * len({*names}), margin={"l": 60, "r": 20, "t": 50})
    made.update_layout(legend={"orientation": "h", "y": 1.15, "traceorder": "normal"}, barmode="group")
    made.update_yaxes(type="category", automargin=True)
    made.update_xaxes(title_text="milliseconds a batch: median, and the 95th percentile", rangemode="tozero")
    note = f"From pixels in memory to logits, with {threads} {'thread' if threads == 1 else 'threads'}."
    return Panel("latency", "Cost of an answer", note, made)


def _name(row: Mapping[str, Any]) -> str:
    device = "" if row["device"] == "CPU" else f", {row['device']}"
    return f"{row['model'].rpartition('/')[2]}, {row['runtime']}{device}"

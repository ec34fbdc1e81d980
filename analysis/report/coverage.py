"""Panel on unsure answers: how many images get an answer, and how many of the answers are right."""

import plotly.graph_objects as go

from analysis.report.panel import COLORS, Panel, RunData
from analysis.winner import exported_calibration
from search_spaces.errors import InvalidInput


def coverage(data: RunData) -> Panel | None:
    """Risk-coverage curve of the exported model on the validation images (Geifman & El-Yaniv, 2017)."""
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

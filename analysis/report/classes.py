"""Panels on the classes: what the winner takes for what, on the validation images."""

from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.report.panel import COLORS, Panel, RunData, figure, plain, shortened
from trainables.data.summary.class_counts import imbalance_ratio
from trainables.interval import share_interval


def counts(data: RunData) -> Panel | None:
    """Images of each class in each split, from the class with the most training images down."""
    record = data.record
    if not record.class_counts:
        return None
    train = record.class_counts["train"]
    order = sorted(range(len(record.classes)), key=lambda label: train[label])
    names = _labels(record.classes)
    traces = [
        go.Bar(
            name=split,
            x=[own[label] for label in order],
            y=[names[label] for label in order],
            orientation="h",
            marker={"color": color},
        )
        for color, (split, own) in zip(COLORS, record.class_counts.items(), strict=False)
    ]
    layout = {"barmode": "stack", "height": max(300, 22 * len(names) + 140), "yaxis": {"automargin": True}}
    return Panel("data", "The data", _data_note(data), figure("images", "", traces, **layout))


def _data_note(data: RunData) -> str:
    record = data.record
    train = record.class_counts["train"]
    most, fewest = record.classes[train.index(max(train))], record.classes[train.index(min(train))]
    note = f"{sum(train):,} training images of {len(train)} classes; the largest, {most} ({max(train):,}), has "
    note += f"{imbalance_ratio(train):.3g} times the images of the smallest, {fewest} ({min(train):,})."
    sizes = {entry.trial.config.data.image_size for entry in data.board.entries}
    if record.photo_sizes:
        width, height = (record.photo_sizes[side][2] for side in ("width", "height"))
        note += f" The median photo is {width:.0f} pixels wide and {height:.0f} high"
        note += f"; the models see {min(sizes)} x {min(sizes)}." if len(sizes) == 1 else "."
    return note


def confused_classes(data: RunData) -> Panel | None:
    """Matrix of true and predicted classes of the winner."""
    scores = data.class_scores
    if scores is None:
        return None
    names = [name for name, *_ in scores.rows]
    counts = {(true, predicted): count for true, predicted, count in scores.confusions}
    shares = [
        [counts.get((true, predicted), 0) / max(images, 1) for predicted in names]
        for true, _, _, _, images in scores.rows
    ]
    texts = [[str(counts.get((true, predicted), "")) for predicted in names] for true in names]
    labels = _labels(names)
    trace = go.Heatmap(
        z=shares, x=labels, y=labels, text=texts, texttemplate="%{text}" if len(names) <= 20 else None,
        colorscale="Blues", zmin=0, zmax=1, colorbar={"title": "share"},
    )  # fmt: skip
    made = figure("predicted", "true", [trace], yaxis={"autorange": "reversed"}, height=max(420, 22 * len(names) + 160))
    note = (
        "A dark cell off the diagonal is a pair of classes that the winner confuses; its shade is the share of a row."
    )
    return Panel("confusion", "What the winner takes for what", note, made)


def recall(data: RunData) -> Panel | None:
    """Recall of each class of the winner with its interval."""
    scores = data.class_scores
    if scores is None:
        return None
    rows = sorted(scores.rows, key=lambda row: row[2])
    bounds = [share_interval(round(value * images), images) for _, _, value, _, images in rows]
    values = [value for _, _, value, _, _ in rows]
    trace = go.Scatter(
        x=values,
        y=[f"{label} ({row[4]})" for label, row in zip(_labels([row[0] for row in rows]), rows, strict=True)],
        mode="markers",
        marker={"color": COLORS[0], "size": 9},
        error_x={
            "type": "data",
            "array": [high - value for value, (_, high) in zip(values, bounds, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(values, bounds, strict=True)],
        },
    )
    layout = {"xaxis": {"range": [0, 1.02]}, "height": max(300, 26 * len(rows) + 120), "yaxis": {"automargin": True}}
    note = "The classes at the bottom fail most often; a wide bar says that there are few images of the class."
    return Panel("recall", "Each class", note, figure("recall, 95 % interval", "", [trace], **layout))


def _labels(names: Sequence[str]) -> list[str]:
    """Return the names of classes as an axis can hold them, each another."""
    short = [shortened(name) for name in names]
    return [plain(name if short.count(each) > 1 else each) for name, each in zip(names, short, strict=True)]

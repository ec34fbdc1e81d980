"""Ledgers for figures, written by hand: settings with a condition, hostile names, predictions."""

import base64
import gzip
import json
import re
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.run_folder import RunFolder
from trainables.config import TrialConfig
from trainables.result import EpochReport, Failure, Rung, TrialResult
from trainables.status import Status

SPACE = {
    "architecture": {"choice": ["resnet18", "vgg16"]},
    "strategy": {"choice": ["head", "progressive"]},
    "unfreeze_epoch": {"int": [1, 2], "when": {"strategy": "progressive"}},
    "lr": {"log": [1e-4, 1e-1]},
    "balance": {"choice": ["none", "loss"]},
}
FIGURES = [
    *("curves", "importance", "strategies", "balance", "parallel", "slices"),
    *("search", "tradeoff", "data", "confusion", "recall", "cost"),
]
PANELS = ["curves", "models", *FIGURES[1:-1], "mistakes", "labels", "cost"]
HOSTILE = "<b>&\x07</b><script>alert(1)</script> $x^2$"


def trial(number: int, status: Status = Status.COMPLETED, epochs: int = 4) -> TrialResult:
    point: dict[str, Any] = {
        "architecture": ("resnet18", "vgg16")[number % 2],
        "strategy": ("head", "progressive")[number // 2 % 2],
        "lr": 10.0 ** -(1 + number % 4),
        "balance": ("none", "loss")[number // 4 % 2],
    }
    if point["strategy"] == "progressive":
        point["unfreeze_epoch"] = 1 + number % 2
    config = TrialConfig.model_validate({"data": {"root": "photos"}, "epochs": 4, **point})
    reports = tuple(
        EpochReport(
            epoch=epoch,
            metrics={"val/macro_f1": (epoch + number / 30) / 6},
            seconds=2,
            checkpoint="best",
            total_parameters=1000 * (1 + number % 2),
            trainable_parameters=10,
            cached=point["strategy"] == "head",
        )
        for epoch in range(1, epochs + 1)
    )
    is_frozen = point["strategy"] == "progressive"
    rungs = (Rung(epoch=1, rung=1, judged=not is_frozen), Rung(epoch=2, rung=2, judged=True))
    made = {"trial_id": f"{number:04d}", "config": config, "parameters": point, "status": status, "reports": reports}
    if status is Status.FAILED:
        made["failure"] = Failure(message="out of memory")
    return TrialResult(**made, flops=1e6 * (1 + number % 2), rungs=rungs)


def predicted(run: RunFolder, name: str, label: str = "cat") -> None:
    path = run.predictions(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"path": ["1.jpg", "2.jpg", "3.jpg"], "label": [label, label, "dog"], "predicted": [label, "dog", "dog"]}
    outputs = {f"p({kind})": [0.5] * 3 for kind in (label, "dog")}
    pq.write_table(pa.table({**columns, **outputs}), path)


def texts(made: go.Figure) -> str:
    """All that a figure hands to the browser."""
    return str(json.loads(made.to_json()))


def unpacked(page: str) -> str:
    """A page, or a part of one, with its figures as the JSON that its script inflates."""
    packed = re.compile(r'(?<=<script type="text/plain">)[^<]+')
    return packed.sub(lambda found: gzip.decompress(base64.b64decode(found[0])).decode(), page)

import json
from pathlib import Path

import plotly.graph_objects as go
import pytest

from analysis.report.cost import cost
from analysis.report.panel import RunData
from analysis.run_folder import RunFolder


def row(name: str, batch: int, p50: float, threads: int = 1) -> dict[str, object]:
    own = {"model": f"/runs/x/export/{name}", "batch": batch, "p50": p50, "p95": 2 * p50, "threads": threads}
    return {**own, "runtime": "onnxruntime", "images_per_second": batch / p50, "size": 16_000_000}


def write(run: RunFolder, text: str) -> None:
    assert isinstance(run.export, Path)
    run.export.mkdir()
    (run.export / "benchmark.json").write_text(text)


def test_a_bar_for_each_file_and_batch_with_the_fewest_threads(run: RunFolder) -> None:
    rows = [row("model.onnx", 1, 0.01), row("model.onnx", 16, 0.1), row("model.int8.onnx", 1, 0.004)]
    write(run, json.dumps({"measurements": [*rows, row("model.onnx", 1, 0.007, threads=2)]}))
    panel = cost(RunData.of(run))
    assert panel is not None
    assert panel.note == "From pixels in memory to logits, with 1 thread."
    assert isinstance(panel.content, go.Figure)
    shown = [(bars.name, dict(zip(bars.y, bars.x, strict=True))) for bars in panel.content.data]
    assert shown == [
        ("batch of 1", {"model.int8.onnx, onnxruntime": 4, "model.onnx, onnxruntime": 10}),
        ("batch of 16", {"model.onnx, onnxruntime": 100}),
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"measurements": []}', '{"measurements": [{"threads": "x"}]}', "3"])
def test_without_usable_measurements_there_is_no_figure(run: RunFolder, text: str) -> None:
    assert cost(RunData.of(run)) is None
    write(run, text)
    assert cost(RunData.of(run)) is None

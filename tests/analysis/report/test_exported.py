import json

import plotly.graph_objects as go
import pytest

from analysis.report.exported import coverage, latency
from analysis.report.panel import RunData
from analysis.run_folder import RunFolder
from analysis.winner import run_winner

ROWS = [
    {"min_confidence": 0.3, "coverage": 1.0, "accuracy": 0.8},
    {"min_confidence": 0.62, "coverage": 0.79, "accuracy": 0.9},
    {"min_confidence": 0.9, "coverage": 0.5, "accuracy": 0.99},
]


def write(run: RunFolder, text: str, name: str = "export.json") -> None:
    run.export.mkdir()
    (run.export / name).write_text(text)


def test_the_curve_says_what_a_confidence_costs(run: RunFolder) -> None:
    winner = run_winner(run).trial_id
    write(run, json.dumps({"trial_id": winner, "calibration": {"coverages": ROWS}}))
    panel = coverage(RunData.of(run))
    assert panel is not None
    assert "With --min-confidence 0.62, 79% of the validation images get an answer, and 90.0% of these" in panel.note
    assert isinstance(panel.content, go.Figure)
    assert list(panel.content.data[0].y) == [0.8, 0.9, 0.99]


def test_the_model_of_another_trial_than_the_winner_is_not_shown(run: RunFolder) -> None:
    write(run, json.dumps({"trial_id": "0000", "calibration": {"coverages": ROWS}}))
    assert coverage(RunData.of(run)) is None


@pytest.mark.parametrize("text", ['{"trial_id": "0000"}', '{"calibration": null}', '{"calibration": 3}', "{", "[]"])
def test_without_a_calibration_there_is_no_curve(run: RunFolder, text: str) -> None:
    assert coverage(RunData.of(run)) is None
    write(run, text)
    assert coverage(RunData.of(run)) is None


def row(name: str, batch: int, p50: float, threads: int = 1) -> dict[str, object]:
    own = {"model": name, "device": "CPU", "batch": batch, "p50": p50, "p95": 2 * p50, "threads": threads}
    return {**own, "runtime": "onnxruntime", "images_per_second": batch / p50, "size": 16_000_000}


def test_a_bar_for_each_file_and_batch_with_the_fewest_threads(run: RunFolder) -> None:
    rows = [row("model.onnx", 1, 0.01), row("model.onnx", 16, 0.1), row("model.int8.onnx", 1, 0.004)]
    write(run, json.dumps({"measurements": [*rows, row("model.onnx", 1, 0.007, threads=2)]}), "benchmark.json")
    panel = latency(RunData.of(run))
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
    assert latency(RunData.of(run)) is None
    write(run, text, "benchmark.json")
    assert latency(RunData.of(run)) is None

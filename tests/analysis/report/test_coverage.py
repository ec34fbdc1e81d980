import json

import plotly.graph_objects as go
import pytest

from analysis.report.coverage import coverage
from analysis.report.panel import RunData
from analysis.run_folder import RunFolder

ROWS = [
    {"min_confidence": 0.3, "coverage": 1.0, "accuracy": 0.8},
    {"min_confidence": 0.62, "coverage": 0.79, "accuracy": 0.9},
    {"min_confidence": 0.9, "coverage": 0.5, "accuracy": 0.99},
]


def write(run: RunFolder, text: str) -> None:
    run.export.mkdir()
    (run.export / "export.json").write_text(text)


def test_the_curve_says_what_a_confidence_costs(run: RunFolder) -> None:
    write(run, json.dumps({"trial_id": "0000", "calibration": {"coverages": ROWS}}))
    panel = coverage(RunData.of(run))
    assert panel is not None
    assert "With --min-confidence 0.62, 79% of the validation images get an answer, and 90.0% of these" in panel.note
    assert isinstance(panel.content, go.Figure)
    assert list(panel.content.data[0].y) == [0.8, 0.9, 0.99]


@pytest.mark.parametrize("text", ['{"trial_id": "0000"}', '{"calibration": null}', '{"calibration": 3}', "{", "[]"])
def test_without_a_calibration_there_is_no_curve(run: RunFolder, text: str) -> None:
    assert coverage(RunData.of(run)) is None
    write(run, text)
    assert coverage(RunData.of(run)) is None

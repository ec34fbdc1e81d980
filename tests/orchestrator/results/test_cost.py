import json

from analysis.run_folder import RunFolder
from orchestrator.results.cost import keep_measurements
from trainables.bundle.benchmark import Measurement
from trainables.bundle.cpu import cpu_features


def measurement(name: str, p50: float) -> Measurement:
    return Measurement(
        model=f"s3://bucket/x/export/{name}",
        runtime="onnxruntime",
        device="CPU",
        threads=1,
        batch=16,  # type: ignore[arg-type]
        p50=p50,
        p95=0.02,
        p99=0.03,
        images_per_second=1234.5,
        batches=9,  # type: ignore[arg-type]
        load_seconds=0.1,
        memory=90_000_000,
        size=16_300_000,  # type: ignore[arg-type]
    )


def test_measurements_lie_beside_the_model_and_replace_those_of_its_card(empty_run: RunFolder) -> None:
    run = empty_run
    run.export.mkdir()
    card = run.export / "model_card.md"
    card.write_text("# digits\n\n## Quality\n\nGood.\n\n## Limits\n\n- some ü\n")
    keep_measurements(run, [measurement("model.onnx", 0.5)])
    keep_measurements(run, [measurement("model.onnx", 0.0123), measurement("model.int8.onnx", 0.004)])
    record = json.loads((run.export / "benchmark.json").read_text())
    assert [row["p50"] for row in record["measurements"]] == [0.0123, 0.004]
    assert record["cpu"] == cpu_features()
    text = card.read_text()
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        *("# digits", "## Quality", "## Cost", "## Limits"),
    ]
    assert "| model.onnx | onnxruntime | 1 | 16 | 12.3 | 20 | 30 | 1.23e+03 | 90 | 16.3 |" in text
    assert cpu_features()["name"] in text
    assert text.endswith("## Limits\n\n- some ü\n")


def test_a_card_that_is_not_there_is_not_made(empty_run: RunFolder) -> None:
    run = empty_run
    keep_measurements(run, [measurement("model.onnx", 0.5)])
    assert [path.name for path in run.export.iterdir()] == ["benchmark.json"]

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from consoles import ODD, console, shown
from run_records import trial as trial_record

from analysis.comparisons.baseline import Baseline
from analysis.leaderboard import Leaderboard
from orchestrator.terminal.tables import (
    against_probe,
    benchmark_table,
    evaluation_tables,
    metrics_table,
    metrics_text,
    parity_text,
    prediction_table,
    status_text,
)
from search_spaces.space import parameters_text, value_text
from trainables.bundle.benchmark import Measurement
from trainables.bundle.parity import Parity
from trainables.bundle.predict import Prediction
from trainables.config import TrialConfig
from trainables.data_config import TrainedOn
from trainables.interval import Difference, Interval
from trainables.result import TrialResult
from trainables.status import Status
from trainables.task.evaluation import Evaluation


def evaluation(classes: list[str]) -> Evaluation:
    count = len(classes)
    confusion = np.full((count, count), 3, int) + np.diag(range(count))
    return Evaluation(
        split="test",
        classes=tuple(classes),
        metrics={"accuracy": 0.5, "macro_f1": 0.25},
        per_class={name: {"precision": 0.1, "recall": 0.2, "f1": 0.3, "support": 4.0} for name in classes},
        confusion=confusion.tolist(),
        top_k={"1": 0.5, "3": 0.75},
        calibration_error=0.125,
        intervals={"accuracy": Interval(0.4, 0.6)},
        recall_intervals={name: None if name == "plain" else Interval(0.1, 0.3) for name in classes},
    )


@pytest.mark.parametrize("width", [60, 80, 200])
def test_an_evaluation_shows_class_names_literally(width: int) -> None:
    text = shown(evaluation_tables(evaluation(ODD), console(width)), width)
    assert max(map(len, text.splitlines())) <= width
    for name in ODD:
        assert text.count(name) >= 2, name  # in the report and in the matrix


def test_a_matrix_that_is_too_wide_becomes_its_largest_confusions() -> None:
    text = shown(evaluation_tables(evaluation([f"class {n}" for n in range(40)]), console(80)), 80)
    assert "taken for" in text
    assert "true \\ predicted" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_recall_has_its_interval_where_there_is_room() -> None:
    wide, narrow = (shown(evaluation_tables(evaluation(ODD), console(width)), width) for width in (80, 60))
    assert wide.splitlines()[0].split() == ["class", "precision", "recall", "95", "%", "f1", "images"]
    assert wide.count("0.100–0.300") == len(ODD) - 1  # a class without images has none
    assert "95 %" not in narrow


def test_metrics_have_a_row_each_and_their_interval() -> None:
    lines = shown(metrics_table(evaluation(["a"])), 60).splitlines()
    assert [line.split() for line in lines] == [
        ["metric", "test", "95", "%"],
        ["accuracy", "0.5000", "0.4000–0.6000"],
        ["macro", "f1", "0.2500"],
        ["top", "3", "accuracy", "0.7500"],
        ["calibration", "error", "0.1250"],
    ]


def test_a_benchmark_fits_a_terminal_and_names_models_where_there_are_several() -> None:
    times = {"p50": 0.0104, "p95": 0.1234, "p99": 1.2345}
    rest = {"images_per_second": 12345.6, "batches": 9, "load_seconds": 0.1, "memory": 735 << 20, "size": 512 << 20}
    one, other = (
        Measurement(model=model, runtime=runtime, device="CPU", threads=16, batch=16, **times, **rest)  # type: ignore[arg-type]
        for model, runtime in (("[b]a.onnx", "onnxruntime"), ("b.onnx", "pytorch"))
    )
    head, row = shown(benchmark_table([one]), 80).splitlines()
    assert head.split()[:4] == ["runtime", "cores", "batch", "p50"]
    assert row.split()[:7] == ["ONNX", "16", "16", "10.4", "123", "1,230", "12,300"]
    assert row.endswith("735 MiB 512 MiB")
    assert "[b]a.onnx" in shown(benchmark_table([one, other]), 200)
    variants = [replace(one, model=f"runs/r/export/model{kind}.onnx") for kind in ("", ".fp16", ".int8")]
    lines = shown(benchmark_table(variants), 80).splitlines()
    assert [line.split()[0] for line in lines] == ["model", "onnx", "fp16.onnx", "int8.onnx"]


@pytest.mark.parametrize("width", [80, 200])
def test_predictions_show_paths_and_labels_literally(width: int) -> None:
    predictions = [Prediction(name, name, 0.75, ((name, 0.75), (f"{name}2", 0.2), ("c", 0.05))) for name in ODD]
    text = shown(prediction_table(predictions), width)
    assert max(map(len, text.splitlines())) <= width
    for name in ODD:
        assert text.count(name) >= 3 or width == 80
    assert text.count("0.750") == len(ODD)


def baseline_of(winner: TrialResult, low: float, high: float, *probed: str) -> Baseline:
    difference = Difference(0.05, Interval(low, high), 0.9, 0.85)
    return Baseline(winner, "vgg16", 0.85, frozenset(probed), 378, difference)


@pytest.mark.parametrize("low", [-0.01, 0.01])
def test_a_winner_is_told_beside_its_probe(low: float) -> None:
    winner = trial_record(7, 9)
    text = against_probe(baseline_of(winner, low, 0.09, "vgg16"))
    figures = "val/macro_f1 0.9000 against 0.8500, a difference of +0.0500 (95 % interval on 378 validation images: "
    assert figures in text
    if low > 0:
        assert text.startswith("0007 beats the best linear probe, that of vgg16: ")
    else:
        assert text.startswith("0007 does not beat the best linear probe, that of vgg16: ")
        assert text.endswith("or more images to validate on, for these leave it open")


@pytest.mark.parametrize(
    ("settings", "probed", "advice"),
    [
        ({"strategy": "full"}, True, "Try head_init: probe, norm_stats: frozen, a lower learning rate, or more"),
        ({"strategy": "full"}, False, "Try norm_stats: frozen, a lower"),
        ({"strategy": "full", "norm_stats": "frozen"}, True, "Try head_init: probe, a lower"),
        ({"strategy": "full", "weights": "none", "head_init": "probe"}, True, "Try a lower"),
        ({"strategy": "head"}, True, "Try head_init: probe, a lower"),
    ],
)
def test_only_what_a_losing_winner_can_take_is_advised(settings: dict[str, Any], probed: bool, advice: str) -> None:
    winner = trial_record(7, 9)
    config = TrialConfig.model_validate(winner.config.model_dump(exclude_none=True) | settings)
    winner = winner.model_copy(update={"config": config})
    text = against_probe(baseline_of(winner, -0.2, -0.1, *([config.architecture] if probed else [])))
    assert text.startswith("0007 is worse than the best linear probe")
    assert advice in text
    assert text.endswith("a lower learning rate, or more images to train on")


def test_field_names_of_json_are_frozen(board: Leaderboard) -> None:
    fields = [
        "rank",
        "trial_id",
        "status",
        "objective",
        "epoch",
        "epochs",
        "seconds",
        "total_parameters",
        "trainable_parameters",
        "probe",
        "skipped_images",
        "parameters",
        "config",
        "failure",
    ]
    assert [list(entry) for entry in board.to_json()] == [fields] * 3
    prediction = Prediction("a.png", "cat", 0.75, (("cat", 0.75), ("dog", 0.25)))
    assert prediction.to_json() == {
        "path": "a.png",
        "label": "cat",
        "probability": 0.75,
        "top": [{"label": "cat", "probability": 0.75}, {"label": "dog", "probability": 0.25}],
    }


def test_values_are_rounded_for_reading() -> None:
    assert [value_text(value) for value in (0.00123456, 3, "cosine", 0.1, True)] == [
        "0.00123",
        "3",
        "cosine",
        "0.1",
        "True",
    ]
    assert parameters_text({"lr": 0.00123456, "strategy": "head"}) == "lr=0.00123, strategy=head"


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_text(status: Status) -> None:
    assert status_text(status).plain == status.value


def test_metrics_and_parity_are_told_in_a_line() -> None:
    assert metrics_text(evaluation(["a"])) == "test: accuracy 0.5000, macro f1 0.2500"
    values: dict[str, Any] = {"images": 9, "same_label": 9, "ties": 0, "max_abs_difference": 2e-7, "scale": 1.0}
    parity = Parity(**values, max_rel_difference=2e-7, tolerance=1e-4, batch_sizes=(1, 3))
    assert parity_text(parity, TrainedOn.TRAIN) == (
        "9 of 9 validation images: same label in onnxruntime and PyTorch; largest difference of a logit 2.0e-07"
    )
    on_all = parity_text(parity, TrainedOn.TRAIN_AND_VAL)
    assert on_all.startswith("9 of 9 images of val, which were trained on: same label")

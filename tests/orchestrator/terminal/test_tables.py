import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType
from run_records import trial as trial_record

from analysis.baseline import Baseline
from analysis.leaderboard import Leaderboard, ProbeEntry
from orchestrator.terminal.tables import (
    against_probe,
    evaluation_tables,
    metrics_table,
    metrics_text,
    parity_text,
    prediction_table,
    status_text,
    trial_table,
)
from search_spaces.space import parameters_text, value_text
from trainables.bundle.parity import Parity
from trainables.bundle.predict import Prediction
from trainables.config import Objective, TrialConfig
from trainables.result import TrialResult
from trainables.status import Status
from trainables.task.bootstrap import Difference, Interval
from trainables.task.evaluation import Evaluation

# Names that a terminal library might take for its own.
ODD = ["[bold]glass[/bold]", "[/]", ":warning:", "back\\", "[link=x]paper", "plain"]


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=False)


def shown(renderable: RenderableType, width: int = 200) -> str:
    out = console(width)
    out.print(renderable)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


@pytest.fixture
def board(trial: Callable[..., TrialResult]) -> Leaderboard:
    long = {"architecture": "tf_mobilenetv3_small_100", "strategy": "progressive", "unfreeze_epoch": 3}
    return Leaderboard.from_trials(
        trial("x").config.objective,
        [
            trial("0000", [0.5, 0.75], Status.COMPLETED, {**long, "lr": 0.00123456, "scheduler": "cosine"}),
            trial("0001", [0.4], Status.PRUNED, {"architecture": "[b]resnet[/b]", "lr": 1e-5, "scheduler": "step"}),
            trial("0002", [], Status.FAILED, {"lr": 0.1, "scheduler": "step"}, failure="NaN in [epoch 2] :warning:"),
        ],
    )


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_leaderboard_fits_its_width_and_loses_nothing(board: Leaderboard, width: int) -> None:
    text = shown(trial_table(board.entries, board.objective, console(width)), width)
    assert max(map(len, text.splitlines())) <= width
    for fact in ("0000", "COMPLETED", "PRUNED", "FAILED", "0.7500", "0.4000", "val/macro_f1"):
        assert fact in text
    assert ("2/2" in text) == ("seconds" in text) == (width > 60)
    assert "…" not in text
    details = folded(text)
    for fact in ("tf_mobilenetv3_small_100", "0.00123", "1e-05", "[b]resnet[/b]", "NaNin[epoch2]:warning:"):
        assert fact in details


def folded(text: str) -> str:
    """Text of the last column, unfolded and without blanks."""
    lines = text.splitlines()
    start = next((lines[0].index(name) for name in ("parameters",) if name in lines[0]), 0)
    return "".join("".join(line[start:].split()) for line in lines[1:])


@pytest.mark.parametrize("sort", ["seconds", "train/loss", "trial_id", "objective", "rank"])
def test_what_the_entries_are_sorted_by_is_shown_once(board: Leaderboard, sort: str) -> None:
    console = Console(width=60, file=io.StringIO())
    heads = [column.header for column in trial_table(board.entries, board.objective, console, sort=sort).columns]
    head = {"trial_id": "trial", "objective": board.objective.metric}.get(sort, sort)
    assert heads.count(head) == 1


def test_wide_terminals_have_a_column_a_parameter_and_narrow_ones_one_for_all(board: Leaderboard) -> None:
    assert "unfreeze_epoch" in shown(trial_table(board.entries, board.objective, console(200))).splitlines()[0]
    header = shown(trial_table(board.entries, board.objective, console(80)), 80).splitlines()[0]
    assert "parameters" in header
    assert "unfreeze" not in header


def test_parameters_that_all_trials_share_are_no_column(trial: Callable[..., TrialResult]) -> None:
    trials = [trial(f"000{n}", [0.5], Status.COMPLETED, {"lr": n / 10, "optimizer": "adamw"}) for n in (1, 2)]
    entries = Leaderboard.from_trials(trials[0].config.objective, trials).entries
    text = shown(trial_table(entries, trials[0].config.objective, console(200)))
    assert "lr" in text
    assert "optimizer" not in text
    assert "failure" not in text


def test_markup_in_parameters_is_shown_literally(trial: Callable[..., TrialResult]) -> None:
    trials = [trial(f"{n:04d}", [0.5], Status.COMPLETED, {"weights": name}) for n, name in enumerate(ODD)]
    objective = trials[0].config.objective
    for width in (60, 200):
        text = shown(trial_table(Leaderboard.from_trials(objective, trials).entries, objective, console(width)), width)
        assert all(name in folded(text) for name in ODD)


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


@pytest.mark.parametrize("width", [80, 200])
def test_predictions_show_paths_and_labels_literally(width: int) -> None:
    predictions = [Prediction(name, name, 0.75, ((name, 0.75), (f"{name}2", 0.2), ("c", 0.05))) for name in ODD]
    text = shown(prediction_table(predictions), width)
    assert max(map(len, text.splitlines())) <= width
    for name in ODD:
        assert text.count(name) >= 3 or width == 80
    assert text.count("0.750") == len(ODD)


def test_probes_follow_without_a_rank(board: Leaderboard) -> None:
    probed = replace(board, probes=(ProbeEntry("resnet18", 0.71), ProbeEntry("vgg16", 0.5)))
    for width in (200, 60):
        table = trial_table(probed.entries, probed.objective, console(width), probed.probes)
        text = shown(table, width).splitlines()
        assert [line.split()[0] for line in text[-2:]] == ["probe", "probe"]
        assert "0.7100" in text[-2]
    assert [row["trial_id"] for row in probed.to_json()[-2:]] == ["probe-resnet18", "probe-vgg16"]
    assert [list(row) for row in probed.to_json()] == [list(board.to_json()[0])] * (len(board.entries) + 2)


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


def test_rows_of_probes_have_names_where_one_architecture_is_shown(board: Leaderboard) -> None:
    probes = (ProbeEntry("resnet18", 0.71), ProbeEntry("vgg16", 0.5))
    lines = shown(trial_table(board.entries[:1], board.objective, console(200), probes), 200).splitlines()
    assert ["resnet18" in lines[-2], "vgg16" in lines[-1]] == [True, True]


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
    assert parity_text(parity) == (
        "9 of 9 validation images: same label in onnxruntime and PyTorch; largest difference of a logit 2.0e-07"
    )


def test_the_parameters_are_shown_where_there_is_room(trial: Callable[..., TrialResult]) -> None:
    done = trial("0000", [0.5, 0.75], Status.COMPLETED, {"lr": 0.01})
    sizes = ((2_230_000, 7_686), (2_230_000, 2_230_000))
    reports = tuple(
        report.model_copy(update={"total_parameters": total, "trainable_parameters": trained})
        for report, (total, trained) in zip(done.reports, sizes, strict=True)
    )
    frozen = done.model_copy(update={"trial_id": "0001", "reports": reports[:1]})
    board = Leaderboard.from_trials(Objective(), [done.model_copy(update={"reports": reports}), frozen])
    text = shown(trial_table(board.entries, board.objective, console(120)), 120)
    assert "2.23M/2.23M" in text
    assert "7.69k/2.23M" in text
    assert "trained" not in shown(trial_table(board.entries, board.objective, console(40)), 40)


@pytest.mark.parametrize("width", range(60, 130, 3))
def test_a_table_is_never_cut_where_another_form_fits(width: int, board: Leaderboard) -> None:
    lines = shown(trial_table(board.entries, board.objective, console(width)), width).splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)

import json

import pytest
from report_runs import trial

from analysis.ledger import Ledger
from analysis.report.models import comparison, tradeoff
from analysis.report.panel import RunData, Table
from analysis.run_folder import RunFolder
from trainables.status import Status


def table(run: RunFolder) -> Table:
    panel = comparison(RunData.of(run))
    assert panel is not None and isinstance(panel.content, Table)
    return panel.content


def test_each_model_stands_with_each_strategy_best_first(run: RunFolder) -> None:
    found = table(run)
    names = [name for name, _ in found.columns]
    rows = [dict(zip(names, row, strict=True)) for row in found.rows]
    assert [(row["model"], row["strategy"], row["trials"]) for row in rows] == [
        ("vgg16", "progressive", 6),
        ("resnet18", "progressive", 6),
        ("vgg16", "head", 6),
        ("resnet18", "head", 7),
    ]
    best = rows[0]
    assert best["best validation"] == pytest.approx((4 + 23 / 30) / 6)
    assert (best["parameters"], best["trained"], best["seconds"]) == (2000, 10, 8)
    assert {row["test"] for row in rows} == {None}


def test_the_trial_that_was_trained_again_has_its_test_value(run: RunFolder) -> None:
    run.winner.mkdir()
    record = {"trial_id": "0023", "test": {"metrics": {"macro_f1": 0.7}}}
    (run.winner / "retrain.json").write_text(json.dumps(record))
    tests = [dict(zip(("model", "strategy", "", "", "", "test"), row, strict=False))["test"] for row in table(run).rows]
    assert tests == [0.7, None, None, None]
    (run.winner / "retrain.json").write_text("{")
    assert {row[5] for row in table(run).rows} == {None}, "a damaged record is named by the commands that need it"


def test_quality_stands_against_parameters_and_flops(run: RunFolder) -> None:
    panel = tradeoff(RunData.of(run))
    assert panel is not None and not isinstance(panel.content, Table | tuple)
    sizes, flops = panel.content.data[:2], panel.content.data[2:]
    assert [(trace.name, set(trace.x)) for trace in sizes] == [("resnet18", {1000}), ("vgg16", {2000})]
    assert [(trace.name, set(trace.x)) for trace in flops] == [("resnet18", {1e6}), ("vgg16", {2e6})]


def test_a_record_without_flops_has_the_parameters_alone(empty: RunFolder) -> None:
    Ledger(empty).write_trial(trial(0).model_copy(update={"flops": None}))
    panel = tradeoff(RunData.of(empty))
    assert panel is not None and not isinstance(panel.content, Table | tuple)
    assert [trace.xaxis for trace in panel.content.data] == ["x"]


def test_without_an_objective_there_is_nothing_to_compare(empty: RunFolder) -> None:
    Ledger(empty).write_trial(trial(0, Status.FAILED, epochs=0))
    assert comparison(RunData.of(empty)) is None
    assert tradeoff(RunData.of(empty)) is None

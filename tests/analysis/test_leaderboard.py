import csv
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import run_record
from run_records import trial as trial_record

from analysis.leaderboard import Leaderboard, columns, constants
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, Failure, TrialResult
from trainables.status import Status

CONFIG = TrialConfig.model_validate(
    {"data": {"root": "data"}, "architecture": "resnet18", "strategy": "head", "epochs": 3, "lr": 0.01}
)
F1 = Objective(metric="val/macro_f1")
LOSS = Objective(metric="val/loss")
BEST_FIRST = [
    {Status.COMPLETED},
    {Status.PRUNED},
    {Status.RUNNING, Status.INTERRUPTED},
    {Status.PRUNED_OOM, Status.TIMED_OUT, Status.FAILED},
]


def trial(trial_id: str, status: Status, *scores: float, **changes: Any) -> TrialResult:
    """A trial that reported `scores`, under every metric."""
    reports = tuple(
        EpochReport(
            epoch=epoch,
            metrics={"val/macro_f1": s, "val/loss": s},
            seconds=2.5,
            checkpoint="best",
            total_parameters=90,
            trainable_parameters=min(80, 40 * epoch),
        )
        for epoch, s in enumerate(scores, start=1)
    )
    values = {"trial_id": trial_id, "config": CONFIG, "parameters": {}, "status": status, "reports": reports}
    return TrialResult(**values | changes)


@st.composite
def runs(draw: st.DrawFn) -> list[TrialResult]:
    scores = st.lists(st.sampled_from([0.1, 0.2, 0.3]) | st.floats(-1e300, 1e300), max_size=3)
    drawn = draw(st.lists(st.tuples(st.sampled_from(Status), scores), max_size=8))
    trials = [trial(f"{number:04}", status, *values) for number, (status, values) in enumerate(drawn)]
    return draw(st.permutations(trials))


@given(trials=runs(), objective=st.sampled_from([F1, LOSS]))
def test_order(trials: list[TrialResult], objective: Objective) -> None:
    board = Leaderboard.from_trials(objective, trials)
    assert sorted(e.trial.trial_id for e in board.entries) == sorted(t.trial_id for t in trials)
    groups = [next(i for i, group in enumerate(BEST_FIRST) if e.trial.status in group) for e in board.entries]
    assert groups == sorted(groups)
    for entry in board.entries:
        scores = [report.metrics[objective.metric] for report in entry.trial.reports]
        best = (max if objective.mode == "max" else min)(scores, default=None)
        assert entry.objective == best
        assert entry.epoch == (None if best is None else scores.index(best) + 1)
    for (first, group), (second, next_group) in pairwise(zip(board.entries, groups, strict=True)):
        if group == next_group and first.objective is not None and second.objective is not None:
            assert not objective.better(second.objective, first.objective)
            if first.objective == second.objective:
                assert first.trial.trial_id < second.trial.trial_id


@given(trials=runs(), objective=st.sampled_from([F1, LOSS]))
def test_winner_is_never_beaten(trials: list[TrialResult], objective: Objective) -> None:
    board = Leaderboard.from_trials(objective, trials)
    completed = [t for t in trials if t.status is Status.COMPLETED and t.reports]
    ranks = [entry.rank for entry in board.entries if entry.rank is not None]
    assert ranks == list(range(1, len(completed) + 1))
    if not completed:
        with pytest.raises(InvalidInput, match=r"is COMPLETED, got"):
            board.winner()
        return
    winner = board.winner()
    assert winner.status is Status.COMPLETED
    value = board.entries[0].objective
    assert value is not None
    assert not any(objective.better(r.metrics[objective.metric], value) for t in completed for r in t.reports)


def test_ties_go_to_the_earlier_trial() -> None:
    trials = [trial(name, Status.COMPLETED, 0.5) for name in ("10000", "9999", "0003")]
    assert [e.trial.trial_id for e in Leaderboard.from_trials(F1, trials).entries] == ["0003", "9999", "10000"]


def test_a_completed_trial_without_the_metric_is_not_ranked() -> None:
    lacking = EpochReport(epoch=1, metrics={"val/accuracy": 1.0}, seconds=1, checkpoint="best")
    trials = [trial("0001", Status.COMPLETED, reports=(lacking,)), trial("0002", Status.COMPLETED, 0.1)]
    board = Leaderboard.from_trials(F1, trials)
    assert [(e.trial.trial_id, e.rank, e.objective) for e in board.entries] == [("0002", 1, 0.1), ("0001", None, None)]


def test_json_fields_are_frozen() -> None:
    trials = [
        trial("0001", Status.COMPLETED, 0.2, 0.6, 0.4, parameters={"lr": 0.01}),
        trial("0002", Status.FAILED, failure=Failure(message="loss is not finite", traceback="...")),
    ]
    written = Leaderboard.from_trials(F1, trials).to_json()
    assert json.loads(json.dumps(written)) == [
        {
            "rank": 1, "trial_id": "0001", "status": "COMPLETED", "objective": 0.6, "epoch": 2, "epochs": 3,
            "seconds": 7.5, "total_parameters": 90, "trainable_parameters": 80, "probe": None,
            "skipped_images": None, "parameters": {"lr": 0.01}, "config": CONFIG.to_json(), "failure": None,
        },
        {
            "rank": None, "trial_id": "0002", "status": "FAILED", "objective": None, "epoch": None, "epochs": 0,
            "seconds": 0, "total_parameters": None, "trainable_parameters": None, "probe": None,
            "skipped_images": None, "parameters": {}, "config": CONFIG.to_json(), "failure": "loss is not finite",
        },
    ]  # fmt: skip


def test_csv(tmp_path: Path) -> None:
    trials = [
        trial("0001", Status.COMPLETED, 0.6, parameters={"lr": 0.01, "epochs": 6}),
        trial("0002", Status.FAILED, parameters={"k": [1, 2]}, failure=Failure(message='a, "b"\nc')),
    ]
    path = tmp_path / "leaderboard.csv"
    Leaderboard.from_trials(F1, trials).write_csv(path)
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == [
        "rank", "trial_id", "status", "objective", "epoch", "epochs", "seconds",
        "total_parameters", "trainable_parameters", "probe", "failure",
        "parameters.lr", "parameters.epochs", "parameters.k",
    ]  # fmt: skip
    assert rows == [
        ["1", "0001", "COMPLETED", "0.6", "1", "1", "2.5", "90", "40", "", "", "0.01", "6", ""],
        ["", "0002", "FAILED", "", "", "0", "0", "", "", "", 'a, "b"\nc', "", "", "[1, 2]"],
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_columns_are_those_that_vary() -> None:
    points: list[dict[str, Any]] = [
        {"architecture": "resnet18", "strategy": "head", "lr": 0.1},
        {"architecture": "resnet18", "strategy": "partial", "lr": 0.1, "trainable_stages": 2},
    ]
    trials = [trial(f"{i}", Status.COMPLETED, 0.5, parameters=point) for i, point in enumerate(points)]
    entries = Leaderboard.from_trials(F1, trials).entries
    assert columns(entries) == ["strategy", "trainable_stages"]
    assert columns(entries[:1]) == []
    assert columns(()) == []
    assert columns(entry for entry in entries) == ["strategy", "trainable_stages"]


@pytest.mark.parametrize(
    ("statuses", "message"),
    [
        ([], r"got no trials; launch the sweep, or wait for its first trial$"),
        (["PRUNED", "FAILED", "FAILED"], r"got 2 FAILED, 1 PRUNED; the leaderboard's `failure` and the trials' logs"),
        (["INTERRUPTED", "FAILED"], r"got 1 FAILED, 1 INTERRUPTED; wait for a trial to complete, or resume the sweep"),
    ],
)
def test_no_winner_has_a_remedy(statuses: list[str], message: str) -> None:
    trials = [trial(f"{number}", Status(status), 0.5) for number, status in enumerate(statuses)]
    with pytest.raises(InvalidInput, match=r"^no trial of runs/trash is COMPLETED, " + message):
        Leaderboard.from_trials(F1, trials, source="runs/trash").winner()


def test_from_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "trash")
    with pytest.raises(InvalidInput, match=r"trash: a run must be an existing folder"):
        Leaderboard.from_run(run.root)
    ledger = Ledger(run)
    record = {
        "name": "trash",
        "objective": LOSS,
        "space": {},
        "distributions": {},
        "created": datetime.now(UTC),
        "classes": ("a", "b"),
        "fingerprint": "",
        "sample_counts": {},
        "trials_planned": 2,
        "versions": {},
    }
    ledger.write_run(RunRecord.model_validate(record))
    with pytest.raises(InvalidInput, match=r"no trial of .*trash is COMPLETED, got no trials"):
        Leaderboard.from_run(run).winner()
    ledger.write_trial(trial("0001", Status.COMPLETED, 0.9))
    ledger.write_trial(trial("0002", Status.COMPLETED, 0.4))
    board = Leaderboard.from_run(str(run.root))
    assert board.winner().trial_id == "0002"  # the run's objective ranks: val/loss, the smaller the better
    assert board == Leaderboard.from_run(run.root) == Leaderboard.from_run(run)
    assert (board.problems, [entry.skipped_images for entry in board.entries]) == ((), [0, 0])
    ledger.update_run(skipped_images={"train": {"a.jpg": "not complete", "b.jpg": "not complete"}})
    board = Leaderboard.from_run(run)
    assert [entry.skipped_images for entry in board.entries] == [2, 2]
    assert "images that cannot be decoded are left out (data.on_bad_image: skip): 2 of train" in board.problems[0]
    ledger.update_run(skipped_images={}, data_remarks=("some images are the same",))
    assert Leaderboard.from_run(run).problems == (f"{run.root}: some images are the same",)


def test_light_to_import() -> None:
    code = "import analysis.leaderboard, sys; assert not {'torch', 'ray', 'pandas', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def board(source: str, *trials: TrialResult, objective: Objective = F1, fingerprint: str | None = "a") -> Leaderboard:
    return replace(Leaderboard.from_trials(objective, trials, source=source), fingerprint=fingerprint)


def test_several_runs_are_ranked_together() -> None:
    first = board("runs/one", trial("0000", Status.COMPLETED, 0.5), trial("0001", Status.FAILED))
    second = board("runs/two", trial("0000", Status.COMPLETED, 0.75))
    assert Leaderboard.joined([first]) is first
    joined = Leaderboard.joined([first, second])
    shown = [(entry.run, entry.rank, entry.trial.trial_id) for entry in joined.entries]
    assert shown == [("two", 1, "0000"), ("one", 2, "0000"), ("one", None, "0001")]
    assert joined.problems == ()
    assert joined.to_json()[0]["run"] == "two"
    assert [row["run"] for row in csv.DictReader(joined.to_csv().splitlines())] == ["two", "one", "one"]
    assert joined.to_markdown().startswith("| run | rank | trial | status | val/macro\\_f1 |")
    again = board("./runs/../runs/one", trial("0000", Status.COMPLETED, 0.5))
    for twice in (first, again):
        with pytest.raises(InvalidInput, match="must be given once, got runs/one too"):
            Leaderboard.joined([first, second, twice])


def test_runs_that_do_not_compare_are_named() -> None:
    same = trial("0000", Status.COMPLETED, 0.5)
    first, unknown = board("a/x", same), board("d/x", same, fingerprint=None)
    data, objective = board("b/x", same, fingerprint="b"), board("c/x", same, objective=LOSS)
    older = replace(board("e/x", same), metrics_version=1)
    joined = Leaderboard.joined([first, data, objective, unknown, older])
    assert joined.problems == (
        "b/x: has other data than a/x; values of the two do not compare",
        "c/x: was searched for val/loss (min), and is ranked here by val/macro_f1 (max), as a/x is",
        "e/x: counts a class without images differently than a/x in val/macro_f1; values of the two compare only where "
        "val has every class",
    )
    assert {entry.run for entry in joined.entries} == {"a/x", "b/x", "c/x", "d/x", "e/x"}, (
        "whole, as the last parts are equal"
    )


def test_what_all_trials_share_is_told_once() -> None:
    def configured(number: int, **changes: Any) -> TrialResult:
        return trial(f"{number:04d}", Status.COMPLETED, 0.5, config=CONFIG.model_copy(update=changes))

    entries = Leaderboard.from_trials(F1, [configured(0, lr=0.1), configured(1, batch_size=64)]).entries
    assert constants(entries) == {"data.root": "data", "architecture": "resnet18", "strategy": "head", "epochs": 3}
    assert constants(entries[:1])["lr"] == 0.1
    assert constants([]) == {}


def test_a_failure_has_a_column_where_there_is_one() -> None:
    failed = trial("0001", Status.FAILED, failure=Failure(message="no | room"))
    text = board("runs/one", trial("0000", Status.COMPLETED, 0.5), failed).to_markdown().splitlines()
    assert text[0] == "| rank | trial | status | val/macro\\_f1 | epoch | seconds | failure |"
    assert text[2:] == ["| 1 | 0000 | COMPLETED | 0.5 | 1 | 2.5 |  |", "|  | 0001 | FAILED |  |  | 0 | no \\| room |"]


def test_a_notebook_gets_a_frame() -> None:
    trials = [
        trial("0000", Status.COMPLETED, 0.5, parameters={"lr": 0.01, "epochs": 3}),
        trial("0001", Status.COMPLETED, 0.75, parameters={"lr": 0.1}),
        trial("0002", Status.FAILED),
    ]
    frame = board("runs/one", *trials).frame
    assert list(frame["trial_id"]) == ["0001", "0000", "0002"]
    assert list(frame["rank"])[:2] == [1, 2]
    assert frame["objective"].max() == 0.75
    assert frame["val/macro_f1"].isna().tolist() == [False, False, True]
    assert frame["data.root"].tolist() == ["data"] * 3
    assert frame["parameters.epochs"].dropna().tolist() == [3]
    assert board("runs/one").frame.empty


def test_a_run_that_is_not_driven_keeps_its_probes(tmp_path: Path) -> None:
    ledger = Ledger(RunFolder(tmp_path))
    ledger.write_run(run_record(probe={"resnet18": 0.5}))
    ledger.write_trial(trial_record(0, epochs=1, status=Status.RUNNING))
    ledger.write_trial(trial_record(1, epochs=2, status=Status.COMPLETED))
    entries = Leaderboard.from_run(tmp_path).without_driver().entries
    assert [(entry.rank, entry.trial.status, entry.probe) for entry in entries] == [
        (1, Status.COMPLETED, 0.5),
        (None, Status.INTERRUPTED, 0.5),
    ]

from pathlib import Path
from typing import Any

import pytest
from run_records import run_record
from run_records import trial as record_of

from analysis.leaderboard import Entry, Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from analysis.selection import Selection, choose_trial, choose_trials
from search_spaces.errors import InvalidInput
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status


def trial(
    name: str, scores: list[float], status: Status, parameters: dict[str, Any], strategy: str = "head"
) -> TrialResult:
    values = {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": strategy, "epochs": 9, "lr": 0.1}
    config = TrialConfig.model_validate({**values, **parameters})
    reports = tuple(
        EpochReport(epoch=epoch, metrics={"val/macro_f1": score}, seconds=2, checkpoint="best")
        for epoch, score in enumerate(scores, start=1)
    )
    return TrialResult(trial_id=name, config=config, parameters=parameters, status=status, reports=reports)


@pytest.fixture
def entries() -> tuple[Entry, ...]:
    trials = [
        trial("0000", [0.5, 0.7], Status.COMPLETED, {"lr": 0.01}, strategy="head"),
        trial("0001", [0.9], Status.COMPLETED, {"lr": 0.1}, strategy="full"),
        trial("0002", [0.8], Status.COMPLETED, {"lr": 0.001}, strategy="full"),
        trial("0003", [], Status.FAILED, {"lr": 0.02}, strategy="head"),
    ]
    return Leaderboard.from_trials(Objective(metric="val/macro_f1"), trials).entries


def ids(entries: tuple[Entry, ...], **how: Any) -> list[str]:
    return [entry.trial.trial_id for entry in Selection(**how).apply(entries)]


def test_a_run_without_trials_refuses_no_name() -> None:
    assert ids((), where="lr>1", best_per="lr", sort="seconds") == []


def test_without_a_wish_all_are_shown_as_they_stand(entries: tuple[Entry, ...]) -> None:
    assert ids(entries) == ["0001", "0002", "0000", "0003"]
    assert ids(entries, is_reversed=True) == ["0003", "0000", "0002", "0001"]
    assert ids(entries, top=2) == ["0001", "0002"]


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("strategy=full", ["0001", "0002"]),
        ("lr<0.05 and status=COMPLETED", ["0002", "0000"]),
        ("val/macro_f1>0.75", ["0001", "0002"]),
        ("rank<=2 or epochs=0", ["0001", "0002", "0003"]),
        ("data.image_size>0", ["0001", "0002", "0000", "0003"]),
        ("probe=1", []),
    ],
)
def test_a_condition_is_asked_of_settings_metrics_and_columns(
    entries: tuple[Entry, ...], where: str, shown: list[str]
) -> None:
    assert ids(entries, where=where) == shown


def test_the_order_is_that_of_a_value_and_rows_without_it_are_last(entries: tuple[Entry, ...]) -> None:
    assert ids(entries, sort="lr") == ["0002", "0000", "0003", "0001"]
    assert ids(entries, sort="lr", is_reversed=True) == ["0001", "0003", "0000", "0002"]
    assert ids(entries, sort="val/macro_f1") == ["0000", "0002", "0001", "0003"]
    assert ids(entries, sort="val/macro_f1", is_reversed=True) == ["0001", "0002", "0000", "0003"]
    assert ids(entries, sort="strategy") == ["0001", "0002", "0000", "0003"]


def test_each_value_is_shown_once_with_its_best(entries: tuple[Entry, ...]) -> None:
    assert ids(entries, best_per="strategy") == ["0001", "0000"]
    assert ids(entries, best_per="strategy", where="lr<0.05", sort="lr") == ["0002", "0000"]


@pytest.mark.parametrize("option", ["sort", "best_per", "where"])
def test_an_unknown_name_is_refused_with_a_similar_one(entries: tuple[Entry, ...], option: str) -> None:
    with pytest.raises(
        InvalidInput, match=f"^--{option.replace('_', '-')}: unknown name 'strateg'; did you mean strat"
    ):
        ids(entries, **{option: "strateg" if option != "where" else "strateg=head"})


def test_a_parameter_that_is_called_as_a_column_is_found_under_its_long_name() -> None:
    ended = trial("0000", [0.5], Status.COMPLETED, {"epochs": 9})
    (entry,) = Leaderboard.from_trials(Objective(metric="val/macro_f1"), [ended]).entries
    assert (entry.row()["epochs"], entry.row()["parameters.epochs"]) == (1, 9)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run in which the second trial is the best, and the third has no rank."""
    folder = RunFolder(tmp_path / "runs" / "trash")
    ledger = Ledger(folder)
    ledger.write_run(run_record())
    for each in (record_of(0, 2, Status.COMPLETED), record_of(1, 5, Status.COMPLETED), record_of(2, 1, Status.PRUNED)):
        ledger.write_trial(each)
    return folder


def test_trials_are_chosen_by_id_and_by_rank(run: RunFolder) -> None:
    assert [each.trial_id for each in choose_trials(run, ["0002"], [2, 1])] == ["0002", "0000", "0001"]
    assert choose_trials(run) == []


def test_one_trial_or_none(run: RunFolder) -> None:
    assert choose_trial(run, None, None) is None
    by_id, by_rank = choose_trial(run, "0002", None), choose_trial(run, None, 1)
    assert by_id is not None
    assert by_rank is not None
    assert (by_id.trial_id, by_rank.trial_id) == ("0002", "0001")


@pytest.mark.parametrize(
    ("trial_ids", "ranks", "message"),
    [
        ([], [3], "--rank: must be from 1 to 2, the number of COMPLETED trials of .*, got 3"),
        (["0001"], [1], "trials must differ, got 0001 twice"),
        (["0009"], [], "0009"),
        (["../0001"], [], "a trial id must be a file name"),
    ],
)
def test_a_choice_that_no_trial_answers(run: RunFolder, trial_ids: list[str], ranks: list[int], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        choose_trials(run, trial_ids, ranks)


def test_an_id_and_a_rank_are_two_choices(run: RunFolder) -> None:
    with pytest.raises(InvalidInput, match="--rank: must stand without --trial, got 1 and 0001"):
        choose_trial(run, "0001", 1)

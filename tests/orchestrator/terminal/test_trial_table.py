import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from consoles import ODD, console, shown
from rich.console import Console

from analysis.leaderboard import Leaderboard, ProbeEntry
from orchestrator.terminal.trial_table import trial_table
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.status import Status


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
    heads = [column.name for column in trial_table(board.entries, board.objective, console, sort=sort).columns]
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


def test_probes_follow_without_a_rank(board: Leaderboard) -> None:
    probed = replace(board, probes=(ProbeEntry("resnet18", 0.71), ProbeEntry("vgg16", 0.5)))
    for width in (200, 60):
        table = trial_table(probed.entries, probed.objective, console(width), probed.probes)
        text = shown(table, width).splitlines()
        assert [line.split()[0] for line in text[-2:]] == ["probe", "probe"]
        assert "0.7100" in text[-2]
    assert [row["trial_id"] for row in probed.to_json()[-2:]] == ["probe-resnet18", "probe-vgg16"]
    assert [list(row) for row in probed.to_json()] == [list(board.to_json()[0])] * (len(board.entries) + 2)


def test_rows_of_probes_have_names_where_one_architecture_is_shown(board: Leaderboard) -> None:
    probes = (ProbeEntry("resnet18", 0.71), ProbeEntry("vgg16", 0.5))
    lines = shown(trial_table(board.entries[:1], board.objective, console(200), probes), 200).splitlines()
    assert ["resnet18" in lines[-2], "vgg16" in lines[-1]] == [True, True]


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
